#include "exact/digest.h"

namespace clutch::exact {

std::uint64_t digest_tensor(std::uint32_t tensor, const std::int8_t* weights, std::uint64_t count) {
  std::uint64_t sum = 0;
  for (std::uint64_t first = 0; first < count; first += 8) {
    std::uint64_t word = 0;
    for (std::uint64_t i = 0; i < 8 && first + i < count; ++i) {
      word |= std::uint64_t{static_cast<std::uint8_t>(weights[first + i])} << (8 * i);
    }
    sum += digest_term(tensor, static_cast<std::uint32_t>(first / 8), word);
  }
  return sum;
}

}  // namespace clutch::exact
