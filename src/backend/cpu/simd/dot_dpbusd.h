// Products with one instruction for four: unsigned by signed bytes (VNNI). Weights are packed as unsigned, w
// + 128, which adds 128·Σx to every sum of a row; the product starts at minus that. The instruction without
// `s` does not saturate: four products are at most 4·255·127 = 129,540 and sums wrap, so only the final sum
// must fit.
#pragma once

#include "backend/cpu/simd/tile_product.h"

namespace clutch::cpu {
namespace {

struct DpbusdDot {
  using X = std::int8_t;           // an element of a prepared row
  static constexpr int kStep = 4;  // terms per 32-bit lane and instruction
  static constexpr int kStepBytes = 4;
  static constexpr int kPeakTerms = 4;   // products summed in a 32-bit lane by one multiply()
  static constexpr bool kBiased = true;  // sums come with 128·Σx

  CLUTCH_SIMD static I multiply(I sum, I w, I x) { return dpbusd(sum, w, x); }
  // Sums of b·x and of x over bytes in place, in lanes.
  CLUTCH_SIMD static I project(I sum, I b, I x) { return dpbusd(sum, bit_xor(b, set8(-128)), x); }
  CLUTCH_SIMD static I add_up(I sum, I x) { return dpbusd(sum, set8(1), x); }

  static void prepare(const std::int8_t*, std::int64_t, X*) {}

  // Four groups of one column each lane, from 16 bytes at a time.
  static constexpr int kChunk = 16;
  CLUTCH_SIMD static I load_groups(const std::int8_t* w, std::ptrdiff_t lane_step) {
    return bit_xor(load_lanes(w, lane_step), set8(-128));
  }

  // Four rows of terms, interleaved: four vectors of groups.
  template <bool kAsWeights>
  CLUTCH_SIMD static void interleave(const I* rows, std::byte* out) {
    const I bias = kAsWeights ? set8(-128) : zero();
    const I ab_low = low8(rows[0], rows[1]), ab_high = high8(rows[0], rows[1]);
    const I cd_low = low8(rows[2], rows[3]), cd_high = high8(rows[2], rows[3]);
    store(out, bit_xor(low16(ab_low, cd_low), bias));
    store(out + kVectorBytes, bit_xor(high16(ab_low, cd_low), bias));
    store(out + 2 * kVectorBytes, bit_xor(low16(ab_high, cd_high), bias));
    store(out + 3 * kVectorBytes, bit_xor(high16(ab_high, cd_high), bias));
  }

  template <int R, int kAdvance, int V>
  CLUTCH_SIMD static void accumulate(I (&sums)[R][V], const X* x, std::ptrdiff_t x_step,
                                     const std::byte* panel, std::int64_t steps) {
    accumulate_broadcast<DpbusdDot, R, kAdvance>(sums, x, x_step, panel, steps);
  }
};

}  // namespace
}  // namespace clutch::cpu
