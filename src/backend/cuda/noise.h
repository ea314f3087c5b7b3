// Noise by its key, on the device: exact/noise.h, eight values at a time.
#pragma once

#include "backend/cuda/arguments.h"
#include "backend/cuda/vendor.h"
#include "exact/noise.h"

namespace clutch::cuda::CLUTCH_VENDOR {

__device__ __forceinline__ exact::NoiseKey noise_key(const Seed& seed, std::uint32_t pair,
                                                     std::uint32_t tensor, std::uint32_t component,
                                                     exact::NoiseRole role) {
  return {.seed = seed.seed,
          .epoch = seed.epoch,
          .pair = pair,
          .tensor = static_cast<std::uint16_t>(tensor),
          .component = static_cast<std::uint8_t>(component),
          .role = role};
}

// Value `i` of a block.
__device__ __forceinline__ int noise_value(const exact::PhiloxBlock& block, int i) {
  return exact::noise_from_bits(i % 2 == 0 ? block[i / 2] & 0xFFFF : block[i / 2] >> 16);
}

// One tensor's A and B of `pairs` pairs from `first` on, with zeros to the end of each row; out is the buffer
// of the first pair. Called by all threads of a block.
__device__ __forceinline__ void fill_noise(const Model& model, const Seed& seed, std::uint32_t tensor,
                                           std::uint32_t first, std::uint32_t pairs, std::int8_t* out,
                                           std::uint32_t thread, std::uint32_t threads) {
  const device::FlatTensor& t = model.tensors[tensor];
  const std::uint32_t a_blocks = t.stride_a / exact::kNoisePerBlock,
                      blocks = a_blocks + t.stride_b / exact::kNoisePerBlock;
  // At most 64 pairs, 64 components and 2^18 blocks.
  for (std::uint32_t i = thread; i < pairs * t.components * blocks; i += threads) {
    const std::uint32_t block = i % blocks, rest = i / blocks;
    const std::uint32_t component = rest % t.components, pair = rest / t.components;
    const bool is_a = block < a_blocks;
    const std::uint32_t index = is_a ? block : block - a_blocks, at = index * exact::kNoisePerBlock;
    const std::uint32_t count = is_a || t.is_vector ? t.rows : t.cols;
    const exact::PhiloxBlock bits = exact::noise_block(
        noise_key(seed, first + pair, tensor, component, is_a ? exact::NoiseRole::kA : exact::NoiseRole::kB),
        index);
    std::uint32_t words[2] = {};
#pragma unroll
    for (int n = 0; n < exact::kNoisePerBlock; ++n) {
      if (at + static_cast<std::uint32_t>(n) < count)
        words[n / 4] |= static_cast<std::uint32_t>(noise_value(bits, n) & 255) << (n % 4 * 8);
    }
    auto* to = reinterpret_cast<std::uint32_t*>(
        out + pair * model.noise_bytes +
        (is_a ? t.noise_a + component * t.stride_a : t.noise_b + component * t.stride_b) + at);
    to[0] = words[0];
    to[1] = words[1];
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
