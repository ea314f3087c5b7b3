// cpu:avx512vnni: AVX-512 with vpdpbusd.
#include "backend/cpu/simd/avx512.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I dpbusd(I sum, I w, I x) { return _mm512_dpbusd_epi32(sum, w, x); }
CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return _mm512_dpwssd_epi32(sum, a, b); }

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

const Kernels& avx512vnni_kernels() {
  static constexpr Kernels table = simd_kernels("avx512vnni");
  return table;
}

}  // namespace clutch::cpu
