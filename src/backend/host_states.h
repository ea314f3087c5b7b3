// Member states in host memory, and what else of it backends that compute there take alike.
#pragma once

#include <algorithm>
#include <vector>

#include "backend/backend.h"

namespace clutch {

class HostStates : public States {
 public:
  HostStates(std::uint32_t members, std::int64_t width) : values(members * static_cast<std::size_t>(width)) {}
  Status read(std::span<std::int8_t> out) const override {
    check_equal(out.size(), values.size(), "states to read");
    std::copy(values.begin(), values.end(), out.begin());
    return {};
  }
  Status write(std::span<const std::int8_t> in) override {
    check_equal(in.size(), values.size(), "states to write");
    std::copy(in.begin(), in.end(), values.begin());
    return {};
  }
  std::vector<std::int8_t> values;  // [members][state_width]
};

// The weights, what the rule remembers, and states that are carried.
inline std::vector<MemoryPart> host_parts(const Program& program, const Workload& workload) {
  const std::int64_t states = workload.carries ? workload.members * program.state_width() : 0;
  return {{"weights", program.parameters()},
          {"rule", 4 * exact::entry(workload.rule).state_count() * program.parameters()},
          {"states", states}};
}

}  // namespace clutch
