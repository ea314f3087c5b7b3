// cpu:avxvnni: AVX2 with the 32-byte vpdpbusd of AVX-VNNI.
#include "backend/cpu/simd/avx2.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I dpbusd(I sum, I w, I x) { return _mm256_dpbusd_avx_epi32(sum, w, x); }
CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return _mm256_dpwssd_avx_epi32(sum, a, b); }

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_dpbusd.h"

namespace clutch::cpu {
namespace {

using Dot = DpbusdDot;

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& avxvnni_kernels() {
  static constexpr Kernels table = simd_kernels("avxvnni");
  return table;
}

}  // namespace clutch::cpu
