#include "evolution/rule.h"

#include <algorithm>

#include "exact/arithmetic.h"
#include "exact/normal.h"

namespace clutch {

std::uint32_t AlphaSchedule::at(std::uint64_t step) const {
  constexpr std::uint64_t kOne = std::uint64_t{1} << exact::kAlphaFractionBits;
  const std::uint64_t divisor = kOne + decay_q30 * step;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(1, start_q30 * kOne / divisor));
}

std::int64_t vote_threshold(std::uint32_t alpha_q30, std::span<const std::int8_t> fitness, int rank) {
  std::uint64_t squares = 0;
  for (const std::int8_t f : fitness) squares += static_cast<std::uint64_t>(f * f);
  const std::uint64_t root = exact::square_root_floor(squares * static_cast<std::uint64_t>(rank) << 16);
  return static_cast<std::int64_t>(exact::normal_quantile_two_sided(alpha_q30) * root >> 16);
}

}  // namespace clutch
