// Products of signed bytes in fours, by the instruction set's own dot4(): no bias, nothing to prepare.
#pragma once

#include "backend/cpu/simd/tile_product.h"

namespace clutch::cpu {
namespace {

struct SignedDot {
  using X = std::int8_t;
  static constexpr int kStep = 4;
  static constexpr int kStepBytes = 4;
  static constexpr int kPeakTerms = 4;  // products summed in a 32-bit lane by one multiply()
  static constexpr bool kBiased = false;

  CLUTCH_SIMD static I multiply(I sum, I w, I x) { return dot4(sum, w, x); }
  CLUTCH_SIMD static I project(I sum, I b, I x) { return dot4(sum, b, x); }
  CLUTCH_SIMD static I add_up(I sum, I) { return sum; }

  static void prepare(const std::int8_t*, std::int64_t, X*) {}

  static constexpr int kChunk = 16;
  CLUTCH_SIMD static I load_groups(const std::int8_t* w, std::ptrdiff_t lane_step) {
    return load_lanes(w, lane_step);
  }

  template <bool kAsWeights>
  CLUTCH_SIMD static void interleave(const I* rows, std::byte* out) {
    const I ab_low = low8(rows[0], rows[1]), ab_high = high8(rows[0], rows[1]);
    const I cd_low = low8(rows[2], rows[3]), cd_high = high8(rows[2], rows[3]);
    store(out, low16(ab_low, cd_low));
    store(out + kVectorBytes, high16(ab_low, cd_low));
    store(out + 2 * kVectorBytes, low16(ab_high, cd_high));
    store(out + 3 * kVectorBytes, high16(ab_high, cd_high));
  }

  template <int R, int kAdvance, int V>
  CLUTCH_SIMD static void accumulate(I (&sums)[R][V], const X* x, std::ptrdiff_t x_step,
                                     const std::byte* panel, std::int64_t steps) {
    accumulate_broadcast<SignedDot, R, kAdvance>(sums, x, x_step, panel, steps);
  }
};

}  // namespace
}  // namespace clutch::cpu
