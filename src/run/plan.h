// What a run will take of the machine's memory, before it takes it.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"
#include "evolution/population.h"
#include "exact/rules.h"
#include "program/program.h"

namespace clutch {

// Estimates on the safe side for the CPU backends, in bytes, besides the program itself; docs/BENCHMARKS.md
// has the exact formula. No term grows with population times parameters.
struct MemoryPlan {
  std::int64_t weights =
      0;  // the start, the backend's copy, and a packed copy of up to two bytes a weight, padded to 64
  std::int64_t rule = 0;    // what the rule remembers: the backend's copy, and once more for checkpoints
  std::int64_t states = 0;  // of the members of this process, and once more for checkpoints
  std::int64_t text = 0;    // two bytes a token
  std::int64_t work = 0;    // tiles and noise of each thread, votes of the largest tensor

  std::int64_t total() const { return weights + rule + states + text + work; }
};

// `carries` says that members keep their states from step to step.
MemoryPlan plan_memory(const Program& program, const Population& population, std::uint32_t pairs_here,
                       std::uint64_t text_tokens, int threads, bool carries,
                       exact::Rule rule = exact::Rule::threshold);

// What this process may still take: the system's available memory, or its container's limit where that is
// less; the largest number where neither is known.
std::int64_t available_memory_bytes();

// "about 9.1 MB (weights 0.3, rule 0.0, states 0.3, text 2.2, work 6.3) of 21000 MB available".
std::string describe(const MemoryPlan& plan, std::int64_t available_bytes);

// Fails, with the numbers, where the plan is over what is available.
Status check_memory(const MemoryPlan& plan, std::int64_t available_bytes);

}  // namespace clutch
