// cpu:neoni8mm: NEON with products of 2-by-8 matrices of bytes.
#include "backend/cpu/simd/neon.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I dot4(I sum, I w, I x) { return any(vdotq_s32(s32(sum), w, x)); }

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_signed.h"

namespace clutch::cpu {
namespace {

// Two rows by two columns by eight terms at a time: steps are taken in pairs, which all callers have, and the
// panel's four-term groups of a column are put side by side on the way.
struct Dot : SignedDot {
  CLUTCH_SIMD static I multiply(I sum, I w, I x) {
    return any(vmmlaq_s32(s32(sum), x, w));
  }  // for the peak alone
  static constexpr int kPeakTerms = 8;

  // Both groups of rows r and r + 1.
  CLUTCH_SIMD static I row_pair(const X* a, const X* b, std::ptrdiff_t advance) {
    const std::int32_t groups[4] = {load_group(a), load_group(a + advance), load_group(b),
                                    load_group(b + advance)};
    return any(vld1q_s32(groups));
  }

  template <int R, int kAdvance, int V>
  CLUTCH_SIMD static void accumulate(I (&sums)[R][V], const X* x, std::ptrdiff_t x_step,
                                     const std::byte* panel, std::int64_t steps) {
    constexpr int kPairs = (R + 1) / 2;
    int32x4_t tiles[kPairs][2 * V];  // of row pair p, columns 2·i and 2·i + 1: [row][column]
    for (auto& pair : tiles) {
      for (auto& tile : pair) tile = vdupq_n_s32(0);
    }
    for (std::int64_t s = 0; s < steps; s += 2, panel += 8 * kVectorBytes) {
      I rows[kPairs];
      for (int p = 0; p < kPairs; ++p) {
        const X* first = x + 2 * p * x_step + s * kAdvance;
        rows[p] = row_pair(first, 2 * p + 1 < R ? first + x_step : first, kAdvance);
      }
      for (int v = 0; v < V; ++v) {
        const I w0 = load(panel + v * kVectorBytes), w1 = load(panel + (4 + v) * kVectorBytes);
        for (int p = 0; p < kPairs; ++p) {
          tiles[p][2 * v] = vmmlaq_s32(tiles[p][2 * v], rows[p], low32(w0, w1));
          tiles[p][2 * v + 1] = vmmlaq_s32(tiles[p][2 * v + 1], rows[p], high32(w0, w1));
        }
      }
    }
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < V; ++v) {
        const int32x4_t a = tiles[r / 2][2 * v], b = tiles[r / 2][2 * v + 1];
        const int32x4_t row = r % 2 == 0 ? vcombine_s32(vget_low_s32(a), vget_low_s32(b))
                                         : vcombine_s32(vget_high_s32(a), vget_high_s32(b));
        sums[r][v] = add32(sums[r][v], any(row));
      }
    }
  }
};

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& neoni8mm_kernels() {
  static constexpr Kernels table = simd_kernels("neoni8mm");
  return table;
}

}  // namespace clutch::cpu
