#include "evolution/schedule.h"

#include <algorithm>

namespace clutch {

std::uint64_t Schedule::at(std::uint64_t step) const {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 30;
  return std::max<std::uint64_t>(1, start_q30 * kOne / (kOne + decay_q30 * step));
}

}  // namespace clutch
