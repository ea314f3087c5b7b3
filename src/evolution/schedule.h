// A number that changes from step to step: the share alpha of the threshold rule, the rate of the others.
#pragma once

#include <cstdint>

namespace clutch {

// start / (1 + decay · step), all with 30 fractional bits.
struct Schedule {
  std::uint64_t start_q30 = 1u << 29;  // in (0, 2^33]
  std::uint64_t decay_q30 = 0;         // below 2^30 (1 per step)

  // floor(start · 2^30 / (2^30 + decay · step)), at least 1; step < 2^32.
  std::uint64_t at(std::uint64_t step) const;
};

}  // namespace clutch
