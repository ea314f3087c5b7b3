// Noise by name: every random integer in Clutch is a pure function of a NoiseKey and an index. Nothing is
// drawn in sequence, so no order of evaluation, thread, tile or device can change a value, and two names
// never share one. The generator is Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2,
// 3", SC 2011): a bijection of the 128-bit counter under a 64-bit key, so distinct names give distinct
// blocks.
#pragma once

#include <array>
#include <cstdint>

namespace clutch::exact {

// What a value is for. The number is part of the meaning: never renumber, only append.
enum class NoiseRole : std::uint8_t {
  kA = 0,        // column factor of a perturbation, one per output row of a matrix [N]
  kB = 1,        // row factor of a perturbation, one per input column of a matrix [K]
  kInitial = 2,  // initial weights
  kSample = 3,   // choices of the sampler, one word per generated token
  kText = 4,     // choices of the story grammar
  kTest = 5,     // random programs and inputs of tests and benchmarks
  kAudit = 6,    // which work an audit repeats
};

// The full name of a stream of noise. Two streams with different names share no block.
struct NoiseKey {
  std::uint64_t seed = 0;      // of the run
  std::uint32_t epoch = 0;     // step / noise_reuse; 0 for initial weights
  std::uint32_t pair = 0;      // population pair; 0 for initial weights
  std::uint16_t tensor = 0;    // index of the tensor in its program
  std::uint8_t component = 0;  // 0 .. rank-1
  NoiseRole role = NoiseRole::kA;
};

using PhiloxBlock = std::array<std::uint32_t, 4>;

constexpr std::uint32_t kPhiloxMultiplier0 = 0xD2511F53, kPhiloxMultiplier1 = 0xCD9E8D57;
constexpr std::uint32_t kPhiloxWeyl0 = 0x9E3779B9, kPhiloxWeyl1 = 0xBB67AE85;
constexpr int kPhiloxRounds = 10;

// One block of Philox4x32-10. All arithmetic is modulo 2^32; products are 64 bits wide.
constexpr PhiloxBlock philox(PhiloxBlock counter, std::uint32_t key0, std::uint32_t key1) {
  for (int round = 0; round < kPhiloxRounds; ++round) {
    const std::uint64_t p0 = std::uint64_t{kPhiloxMultiplier0} * counter[0];
    const std::uint64_t p1 = std::uint64_t{kPhiloxMultiplier1} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key0, static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key1, static_cast<std::uint32_t>(p0)};
    key0 += kPhiloxWeyl0;
    key1 += kPhiloxWeyl1;
  }
  return counter;
}

// The last counter word of a key: role in bits 0-7, component in 8-15, tensor in 16-31.
constexpr std::uint32_t noise_counter3(const NoiseKey& key) {
  return static_cast<std::uint32_t>(key.role) | std::uint32_t{key.component} << 8 |
         std::uint32_t{key.tensor} << 16;
}

// Block `index` of the stream `key`: counter = (index, pair, epoch, tensor|component|role), key = seed.
constexpr PhiloxBlock noise_block(const NoiseKey& key, std::uint32_t index) {
  return philox({index, key.pair, key.epoch, noise_counter3(key)}, static_cast<std::uint32_t>(key.seed),
                static_cast<std::uint32_t>(key.seed >> 32));
}

// A noise value is three 5-bit uniforms and one bit, less their mean: symmetric, in [-47, 47], with variance
// 3·(32²-1)/12 + 1/4 = 256 exactly, so the deviation is 16 exactly (1.0 in 4-bit fixed point), and excess
// kurtosis -0.4. Sixteen random bits are used up whole.
constexpr int kNoiseMax = 47;
constexpr int kNoiseVariance = 256;
constexpr int kNoisePerBlock = 8;

constexpr std::int8_t noise_from_bits(std::uint32_t bits16) {
  return static_cast<std::int8_t>(
      static_cast<int>((bits16 & 31) + (bits16 >> 5 & 31) + (bits16 >> 10 & 31) + (bits16 >> 15 & 1)) -
      kNoiseMax);
}

// Fills out[0..count) with values first .. first+count-1 of the stream. Value i comes from block i/8: word
// (i%8)/2 of the block, its low half where i is even and its high half where i is odd.
void fill_noise(const NoiseKey& key, std::uint32_t first, std::uint32_t count, std::int8_t* out);

}  // namespace clutch::exact
