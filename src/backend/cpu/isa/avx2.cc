// cpu:avx2: AVX2, products of 16-bit pairs.
#include "backend/cpu/simd/avx2.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return add32(sum, madd16(a, b)); }

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_madd16.h"
#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& avx2_kernels() {
  static constexpr Kernels table = simd_kernels("avx2");
  return table;
}

}  // namespace clutch::cpu
