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

// Philox on kVectors vectors of counters at a time, as a round's latency is several times its cost. Counters
// sit in the low halves of 64-bit lanes; what a multiplication leaves in the high halves is never read by the
// next, which takes low halves only. Fills kVectors · kVectorBytes values from block `index` on.
template <int kVectors>
CLUTCH_SIMD void noise_vectors(const exact::NoiseKey& key, std::uint32_t index, std::int8_t* out) {
  I c0[kVectors], c1[kVectors], c2[kVectors], c3[kVectors];
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    c0[v] = add64(count64(), set64(index + static_cast<std::uint32_t>(v * kBlocksAtATime)));
    c1[v] = set64(key.pair);
    c2[v] = set64(key.epoch);
    c3[v] = set64(exact::noise_counter3(key));
  }
  auto k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
  const I m0 = set64(exact::kPhiloxMultiplier0), m1 = set64(exact::kPhiloxMultiplier1);
#pragma GCC unroll 10
  for (int round = 0; round < exact::kPhiloxRounds; ++round) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const I p0 = mul_even32(c0[v], m0), p1 = mul_even32(c2[v], m1);
      c0[v] = bit_xor3(shift_right64<32>(p1), c1[v], set64(k0));
      c2[v] = bit_xor3(shift_right64<32>(p0), c3[v], set64(k1));
      c1[v] = p1;
      c3[v] = p0;
    }
    k0 += exact::kPhiloxWeyl0;
    k1 += exact::kPhiloxWeyl1;
  }
  const I low_words = set64(0xFFFFFFFF);
#pragma GCC unroll 4
  for (int v = 0; v < kVectors; ++v) {
    const I first = bit_or(bit_and(c0[v], low_words), shift_left64<32>(c1[v]));
    const I second = bit_or(bit_and(c2[v], low_words), shift_left64<32>(c3[v]));
    // Per 16-byte lane: blocks 0 and 1 of the first words, then of the second.
    store(out + v * kVectorBytes, swap_middle32(narrow16(noise_lanes(first), noise_lanes(second))));
  }
}

inline void fill_noise(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count,
                       std::int8_t* out) {
  constexpr std::uint32_t kMany = 4 * kVectorBytes, kOne = kVectorBytes;
  std::uint32_t done = 0;
  const auto block = [&] { return (first + done) / exact::kNoisePerBlock; };
  for (; done + kMany <= count; done += kMany) noise_vectors<4>(key, block(), out + done);
  for (; done + kOne <= count; done += kOne) noise_vectors<1>(key, block(), out + done);
  if (done == count) return;
  alignas(64) std::int8_t rest[kVectorBytes];
  noise_vectors<1>(key, block(), rest);
  __builtin_memcpy(out + done, rest, count - done);
}

}  // namespace
}  // namespace clutch::cpu
