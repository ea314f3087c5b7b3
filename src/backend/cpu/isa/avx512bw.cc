// cpu:avx512bw: AVX-512 without VNNI, products of 16-bit pairs.
#include "backend/cpu/simd/avx512.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return add32(sum, madd16(a, b)); }

// Σ b·x by four bytes, in 16-bit pairs.
CLUTCH_SIMD I dot_bytes(I sum, I b, I x) {
  const auto low = [](I bytes) { return shift_floor16<8>(low8(zero(), bytes)); };
  const auto high = [](I bytes) { return shift_floor16<8>(high8(zero(), bytes)); };
  return add32(sum, add32(madd16(low(b), low(x)), madd16(high(b), high(x))));
}

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_madd16.h"
#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& avx512bw_kernels() {
  static constexpr Kernels table = simd_kernels("avx512bw");
  return table;
}

}  // namespace clutch::cpu
