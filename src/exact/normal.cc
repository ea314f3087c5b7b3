#include "exact/normal.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "exact/tables.h"

namespace clutch::exact {

std::uint32_t normal_quantile_two_sided(std::uint32_t alpha_q30) {
  constexpr int kStepBits = kQuantileFractionBits - 6;  // the table steps by 1/64
  const std::uint64_t tail = std::uint64_t{alpha_q30} << (32 - kAlphaFractionBits);
  const auto* end = std::end(kTwoSidedTailTable);
  // The first entry not above the tail; the table falls strictly from 2^32.
  const auto* low = std::lower_bound(std::begin(kTwoSidedTailTable), end, tail, std::greater<>());
  if (low == end) return static_cast<std::uint32_t>(std::size(kTwoSidedTailTable) - 1) << kStepBits;
  const auto index = static_cast<std::uint32_t>(low - std::begin(kTwoSidedTailTable));
  if (*low == tail) return index << kStepBits;
  const std::uint64_t fall = low[-1] - *low, rest = tail - *low;
  return (index << kStepBits) - static_cast<std::uint32_t>((rest << kStepBits) / fall);
}

}  // namespace clutch::exact
