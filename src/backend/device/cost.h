// How many iterations of loops an invocation of the kernels goes through. Some devices give up silently after
// a number of them (Limits::iterations), so that work must be cut into dispatches that stay below.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/device/tables.h"

namespace clutch::device {

struct Plan;

struct Cost {
  std::vector<std::uint64_t> instructions;  // of each, upper bounds
  std::uint64_t token = 0;                  // beside them: states and loss

  std::uint64_t whole_token() const;
  std::uint64_t largest_part() const;  // of a token's parts that cannot be cut
};

// lanes: invocations of a workgroup.
Cost cost_of(const Plan& plan, std::uint32_t lanes);

// One dispatch's share of a window: whole tokens, or a part of one token's instructions.
struct Stretch {
  std::uint32_t first_token = 0, tokens = 0, begin = 0, end = 0;
};

// Cuts tokens first .. first + count - 1; limit 0: one stretch.
std::vector<Stretch> cut(const Cost& cost, std::uint32_t first, std::uint32_t count, std::uint64_t limit);

// Pairs that one dispatch of `vote` may take from a tensor, at least 1.
std::uint32_t pairs_of_vote(const DeviceTensor& tensor, std::uint64_t items_each, std::uint64_t limit);

}  // namespace clutch::device
