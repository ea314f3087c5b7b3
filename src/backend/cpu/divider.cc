#include <algorithm>

#include "backend/cpu/kernels.h"

namespace clutch::cpu {

Divider make_divider(std::int64_t divisor) {
  Divider divider{0, divisor, 0, 0};
  while (divider.divisor % 2 == 0) {
    divider.divisor = exact::shift_floor(divider.divisor, 1);
    ++divider.shift;
  }
  divider.bits = std::max(16, 10 + 2 * exact::log2_floor(static_cast<std::uint64_t>(divider.divisor)));
  divider.multiplier = (std::uint64_t{1} << divider.bits) / static_cast<std::uint64_t>(divider.divisor) + 1;
  return divider;
}

}  // namespace clutch::cpu
