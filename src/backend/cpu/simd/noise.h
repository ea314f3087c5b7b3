// Noise by the vector: as many Philox blocks at a time as there are 64-bit lanes. Equal to exact::fill_noise.
#pragma once

#include "backend/cpu/simd/rows.h"
#include "exact/noise.h"

namespace clutch::cpu {
namespace {

constexpr int kBlocksAtATime = kVectorBytes / 8;  // 8 values each: kVectorBytes values

// 16 random bits to a value, in 16-bit lanes: see exact::noise_from_bits.
CLUTCH_SIMD I noise_lanes(I u) {
  const I five = set16(31);
  const I a = add16(bit_and(u, five), bit_and(shift_right16<5>(u), five));
  const I b = add16(bit_and(shift_right16<10>(u), five), shift_right16<15>(u));
  return sub16(add16(a, b), set16(exact::kNoiseMax));
}

// kVectorBytes values from block `index` on. Counters sit in the low halves of 64-bit lanes; what a
// multiplication leaves in the high halves is never read by the next, which takes low halves only.
CLUTCH_SIMD I noise_vector(const exact::NoiseKey& key, std::uint32_t index) {
  I c0 = add64(count64(), set64(index)), c1 = set64(key.pair), c2 = set64(key.epoch);
  I c3 = set64(exact::noise_counter3(key));
  auto k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  const I m0 = set64(exact::kPhiloxMultiplier0), m1 = set64(exact::kPhiloxMultiplier1);
#pragma GCC unroll 10
  for (int round = 0; round < exact::kPhiloxRounds; ++round) {
    const I p0 = mul_even32(c0, m0), p1 = mul_even32(c2, m1);
    c0 = bit_xor3(shift_right64<32>(p1), c1, set64(k0));
    c2 = bit_xor3(shift_right64<32>(p0), c3, set64(k1));
    c1 = p1;
    c3 = p0;
    k0 += exact::kPhiloxWeyl0;
    k1 += exact::kPhiloxWeyl1;
  }
  const I low_words = set64(0xFFFFFFFF);
  const I first = bit_or(bit_and(c0, low_words), shift_left64<32>(c1));
  const I second = bit_or(bit_and(c2, low_words), shift_left64<32>(c3));
  // Per 16-byte lane: blocks 0 and 1 of the first words, then of the second.
  return swap_middle32(narrow16(noise_lanes(first), noise_lanes(second)));
}

inline void fill_noise(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count,
                       std::int8_t* out) {
  std::uint32_t done = 0;
  for (; done + kVectorBytes <= count; done += kVectorBytes) {
    store(out + done, noise_vector(key, (first + done) / exact::kNoisePerBlock));
  }
  if (done == count) return;
  alignas(64) std::int8_t rest[kVectorBytes];
  store(rest, noise_vector(key, (first + done) / exact::kNoisePerBlock));
  __builtin_memcpy(out + done, rest, count - done);
}

}  // namespace
}  // namespace clutch::cpu
