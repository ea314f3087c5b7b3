// A difference in words: the instruction with its operands, or the weight with its vote, worked out element
// by element with the integers of exact/.
#pragma once

#include <string>

#include "parity/lockstep.h"
#include "parity/trace.h"

namespace clutch::parity {

// The operands of one instruction for element `element` of its result, in lines that start with two blanks.
// `slots` are those of either backend: up to this instruction they are the same.
std::string explain_instruction(const Traced& what, const NoiseShape& shape, const Weights& weights,
                                const Slots2& slots, const Difference& at);

// One weight of an update. What the rule remembers is given by state tensor.
struct WeightChange {
  int tensor = 0;
  std::int64_t element = 0;
  std::int8_t before = 0, a = 0, b = 0;
  std::vector<std::int32_t> remembered, remembered_a, remembered_b;
};
std::string explain_weight(const Program& program, const NoiseShape& shape, const Update& update,
                           const WeightChange& change, const std::string& name_a, const std::string& name_b);

// Pair, sign and noise of a member: "member 5 (pair 2, minus)".
std::string member_words(const Evaluation& evaluation, std::uint32_t member);

}  // namespace clutch::parity
