#include "exact/noise.h"

namespace clutch::exact {

void fill_noise(const NoiseKey& key, std::uint32_t first, std::uint32_t count, std::int8_t* out) {
  PhiloxBlock block{};
  for (std::uint32_t n = 0; n < count; ++n) {
    const std::uint32_t i = first + n;
    if (n == 0 || i % kNoisePerBlock == 0) block = noise_block(key, i / kNoisePerBlock);
    const std::uint32_t word = block[i % kNoisePerBlock / 2];
    out[n] = noise_from_bits(i % 2 == 0 ? word & 0xFFFF : word >> 16);
  }
}

}  // namespace clutch::exact
