// cpu:neondot: NEON with dot products.
#include "backend/cpu/simd/neon.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I dot4(I sum, I w, I x) { return any(vdotq_s32(s32(sum), w, x)); }

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

const Kernels& neondot_kernels() {
  static constexpr Kernels table = simd_kernels("neondot");
  return table;
}

}  // namespace clutch::cpu
