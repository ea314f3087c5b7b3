// Noise by the vector: as many Philox blocks at a time as there are 64-bit lanes. Equal to exact::fill_noise.
//
// The words of a block sit in the low halves of 64-bit lanes; what a multiplication leaves in the high halves
// is never read by the next, which takes low halves only.
#pragma once

#include "backend/cpu/simd/rows.h"
#include "exact/noise.h"

namespace clutch::cpu {
namespace {

constexpr int kBlocksAtATime = kVectorBytes / 8;  // 8 values each: kVectorBytes values

// Rounds kFirst .. of kCount vectors of blocks, side by side, because each round waits for the one before.
template <int kFirst, int kCount>
CLUTCH_SIMD void philox_rounds(I (&c)[kCount][4], std::uint64_t seed) {
  auto k0 = static_cast<std::uint32_t>(seed) + kFirst * exact::kPhiloxWeyl0;
  auto k1 = static_cast<std::uint32_t>(seed >> 32) + kFirst * exact::kPhiloxWeyl1;
  const I m0 = set64(exact::kPhiloxMultiplier0), m1 = set64(exact::kPhiloxMultiplier1);
#pragma GCC unroll 10
  for (int round = kFirst; round < exact::kPhiloxRounds; ++round) {
    const I key0 = set64(k0), key1 = set64(k1);
#pragma GCC unroll 4
    for (int i = 0; i < kCount; ++i) {
      const I p0 = mul_even32(c[i][0], m0), p1 = mul_even32(c[i][2], m1);
      c[i][0] = bit_xor3(shift_right64<32>(p1), c[i][1], key0);
      c[i][2] = bit_xor3(shift_right64<32>(p0), c[i][3], key1);
      c[i][1] = p1;
      c[i][3] = p0;
    }
    k0 += exact::kPhiloxWeyl0;
    k1 += exact::kPhiloxWeyl1;
  }
}

// 16 random bits to a value and kNoiseMax more, in 16-bit lanes: see exact::noise_from_bits. Of the four
// parts, at bits 0, 5, 10 and 15, two are added to the other two in place: (a + b) + ((c + d) << 10).
CLUTCH_SIMD I noise_lanes(I u) {
  const I sums = add16(bit_and(u, set16(0x7C1F)), bit_and(shift_right16<5>(u), set16(0x041F)));
  return bit_and(add16(sums, shift_right16<10>(sums)), set16(0xFF));
}

// Blocks to kVectorBytes values.
CLUTCH_SIMD I noise_values(const I (&c)[4]) {
  const I first = low_words(c[0], c[1]), second = low_words(c[2], c[3]);
  // Per 16-byte lane: blocks 0 and 1 of the first words, then of the second.
  const I values = swap_middle32(narrow16(noise_lanes(first), noise_lanes(second)));
  return sub8(values, set8(exact::kNoiseMax));
}

// kCount · kVectorBytes values from block `index` on.
template <int kCount>
CLUTCH_SIMD void noise_vectors(const exact::NoiseKey& key, std::uint32_t index, std::int8_t* out) {
  I c[kCount][4];
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) {
    c[i][0] = add64(count64(), set64(index + static_cast<std::uint32_t>(i * kBlocksAtATime)));
    c[i][1] = set64(key.pair);
    c[i][2] = set64(key.epoch);
    c[i][3] = set64(exact::noise_counter3(key));
  }
  philox_rounds<0>(c, key.seed);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) store(out + i * kVectorBytes, noise_values(c[i]));
}

inline void fill_noise(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count,
                       std::int8_t* out) {
  constexpr std::uint32_t kOne = kVectorBytes, kMany = 4 * kOne;
  std::uint32_t done = 0;
  const auto block = [&] { return (first + done) / exact::kNoisePerBlock; };
  for (; done + kMany <= count; done += kMany) noise_vectors<4>(key, block(), out + done);
  for (; done + kOne <= count; done += kOne) noise_vectors<1>(key, block(), out + done);
  if (done == count) return;
  alignas(64) std::int8_t rest[kVectorBytes];
  noise_vectors<1>(key, block(), rest);
  __builtin_memcpy(out + done, rest, count - done);
}

// The same blocks of streams that differ by their pair alone. The pair is one word of the counter and takes
// three rounds to reach all four; what those compute without it is done once for all pairs, and with c0..c3
// the words after the third round and s = M0 · (pair ^ shared), a scalar:
//   c2 after round 2 = high(s) ^ second, and p1 = M1 · c2:
//   c0 = high(p1) ^ c0_rest, c1 = low(p1), c2 = low(s) ^ c2_rest, c3 = c3_rest.
class PairStreams {
 public:
  CLUTCH_SIMD PairStreams(const exact::NoiseKey& key, std::uint32_t index) {
    const auto k0 = static_cast<std::uint32_t>(key.seed), k1 = static_cast<std::uint32_t>(key.seed >> 32);
    const I m0 = set64(exact::kPhiloxMultiplier0), m1 = set64(exact::kPhiloxMultiplier1);
    const std::uint64_t epoch = std::uint64_t{exact::kPhiloxMultiplier1} * key.epoch;
    shared_ = static_cast<std::uint32_t>(epoch >> 32) ^ k0;
    const I blocks = mul_even32(add64(count64(), set64(index)), m0);
    const I second = bit_xor3(shift_right64<32>(blocks), set64(exact::noise_counter3(key)), set64(k1));
    const I p1 = mul_even32(second, m1);
    const I c0 = bit_xor3(shift_right64<32>(p1), set64(static_cast<std::uint32_t>(epoch)),
                          set64(k0 + exact::kPhiloxWeyl0));
    const I p0 = mul_even32(c0, m0);
    second_ = bit_xor(blocks, set64(k1 + exact::kPhiloxWeyl1));
    c0_rest_ = bit_xor(p1, set64(k0 + 2 * exact::kPhiloxWeyl0));
    c2_rest_ = bit_xor(shift_right64<32>(p0), set64(k1 + 2 * exact::kPhiloxWeyl1));
    c3_rest_ = p0;
  }

  // A pair's words after three rounds.
  CLUTCH_SIMD void start(std::uint32_t pair, I (&c)[4]) const {
    const std::uint64_t s = std::uint64_t{exact::kPhiloxMultiplier0} * (pair ^ shared_);
    c[1] = mul_even32(bit_xor(set64(s >> 32), second_), set64(exact::kPhiloxMultiplier1));
    c[0] = bit_xor(shift_right64<32>(c[1]), c0_rest_);
    c[2] = bit_xor(set64(s), c2_rest_);
    c[3] = c3_rest_;
  }

 private:
  std::uint32_t shared_;
  I second_, c0_rest_, c2_rest_, c3_rest_;
};

inline void fill_pairs(const PairNoiseTask& task) {
  const std::uint64_t seed = task.key.seed;
  for (std::uint32_t done = 0; done < task.count; done += kVectorBytes) {
    const PairStreams streams(task.key, (task.first + done) / exact::kNoisePerBlock);
    const std::uint32_t left = task.count - done;
    std::int8_t* out = task.out + done;
    for (std::int64_t p = 0; p < task.pairs; p += 2, out += 2 * task.step) {
      const std::uint32_t pair = task.key.pair + static_cast<std::uint32_t>(p);
      I c[2][4];
      streams.start(pair, c[0]);
      streams.start(pair + 1, c[1]);
      philox_rounds<3>(c, seed);
      for (int i = 0; i < 2 && p + i < task.pairs; ++i) {
        const I values = noise_values(c[i]);
        store(out + i * task.step, values);
        if (left < kVectorBytes) __builtin_memset(out + i * task.step + left, 0, kVectorBytes - left);
      }
    }
  }
}

}  // namespace
}  // namespace clutch::cpu
