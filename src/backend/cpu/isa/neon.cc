// cpu:neon: NEON as every AArch64 has it.
#include "backend/cpu/simd/neon.h"

namespace clutch::cpu {
namespace {

// Pairs of products are at most 2·127² = 32,258: they fit 16 bits.
CLUTCH_SIMD I dot4(I sum, I w, I x) {
  const int16x8_t pairs = vpaddq_s16(vmull_s8(vget_low_s8(w), vget_low_s8(x)), vmull_high_s8(w, x));
  return any(vpadalq_s16(s32(sum), pairs));
}

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_signed.h"

namespace clutch::cpu {
namespace {

using Dot = SignedDot;

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& neon_kernels() {
  static constexpr Kernels table = simd_kernels("neon");
  return table;
}

}  // namespace clutch::cpu
