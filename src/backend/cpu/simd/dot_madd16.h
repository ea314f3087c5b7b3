// Products of 16-bit pairs, where there is nothing for bytes: weights are packed widened, rows are widened
// once per call. A pair's sum is at most 2·127² (votes: 2·64·47), far from madd's one overflow at 2·2^30.
#pragma once

#include "backend/cpu/simd/tile_product.h"

namespace clutch::cpu {
namespace {

struct Dot {
  using X = std::int16_t;
  static constexpr int kStep = 2;
  static constexpr int kStepBytes = 4;
  static constexpr int kPeakTerms = 2;  // products summed in a 32-bit lane by one multiply()
  static constexpr bool kBiased = false;

  CLUTCH_SIMD static I multiply(I sum, I w, I x) { return add32(sum, madd16(w, x)); }
  CLUTCH_SIMD static I project(I sum, I b, I x) { return dot_bytes(sum, b, x); }
  CLUTCH_SIMD static I add_up(I sum, I) { return sum; }

  static void prepare(const std::int8_t* x, std::int64_t k, X* out) {
    for (std::int64_t i = 0; i < k; ++i) out[i] = x[i];
  }

  static constexpr int kChunk = 8;
  CLUTCH_SIMD static I load_groups(const std::int8_t* w, std::ptrdiff_t lane_step) {
    return load_lanes_widened(w, lane_step);
  }

  template <bool kAsWeights>
  CLUTCH_SIMD static void interleave(const I* rows, std::byte* out) {
    const I a_low = shift_floor16<8>(low8(zero(), rows[0])),
            a_high = shift_floor16<8>(high8(zero(), rows[0]));
    const I b_low = shift_floor16<8>(low8(zero(), rows[1])),
            b_high = shift_floor16<8>(high8(zero(), rows[1]));
    store(out, low16(a_low, b_low));
    store(out + kVectorBytes, high16(a_low, b_low));
    store(out + 2 * kVectorBytes, low16(a_high, b_high));
    store(out + 3 * kVectorBytes, high16(a_high, b_high));
  }

  template <int R, int kAdvance, int V>
  CLUTCH_SIMD static void accumulate(I (&sums)[R][V], const X* x, std::ptrdiff_t x_step,
                                     const std::byte* panel, std::int64_t steps) {
    accumulate_broadcast<Dot, R, kAdvance>(sums, x, x_step, panel, steps);
  }
};

}  // namespace
}  // namespace clutch::cpu
