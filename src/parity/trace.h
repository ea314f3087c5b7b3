// One member's trace by two backends: the first token and instruction at which it differs.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "parity/case.h"

namespace clutch::parity {

// The first `length` tokens of an evaluation.
Evaluation first_tokens(const Evaluation& evaluation, std::uint32_t length);

// As a request; `states` as there.
EvaluateRequest request_of(const Evaluation& evaluation, States* states);

struct TraceDifference {
  std::uint32_t token = 0, instruction = 0;
};

// What is compared: `states` are those before the evaluation, or empty.
struct Traced {
  const Program& program;
  const Evaluation& evaluation;
  const std::vector<std::int8_t>& states;
  std::uint32_t member = 0;
};

// Nothing where all results are the same. Keeps 8 bytes of each, not the results.
Result<std::optional<TraceDifference>> compare_traces(Backend& a, Backend& b, const Traced& what);

// The slots that instructions wrote at token `token` and at the one before, by slot; empty for others.
using SlotValues = std::vector<std::vector<std::int8_t>>;
struct Slots2 {
  SlotValues now, before;
};
Result<Slots2> slots_at(Backend& backend, const Traced& what, std::uint32_t token);

}  // namespace clutch::parity
