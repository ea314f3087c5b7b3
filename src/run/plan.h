// What a run will take of memory, before it takes it: the machine's, and that of each device.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/status.h"

namespace clutch {

// The machine's plan first, then one for each device of the backend. Of the machine's memory the run itself
// takes, beside its backend, the weights at the start, what the rule remembers and states once more for
// checkpoints, and the text. What is evaluated between steps (held-out text, samples) is not counted.
Result<std::vector<MemoryPlan>> plan_memory(const Backend& backend, const Program& program,
                                            const Workload& workload, std::uint64_t text_tokens);

// What this process may still take: the system's available memory, or its container's limit where that is
// less; the largest number where neither is known.
std::int64_t available_memory_bytes();

// "about 9.1 MB (weights 0.3, rule 0.0, states 0.3, text 2.2, work 6.3) of 21000 MB available", and so on for
// each device: "; cuda:0 about 4.2 MB (…) of 80000 MB available".
std::string describe(const std::vector<MemoryPlan>& plans);

// Fails, with the numbers, where a plan is over what is available.
Status check_memory(const std::vector<MemoryPlan>& plans);

}  // namespace clutch
