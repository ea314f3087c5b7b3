// Division of 16-bit lanes by a number below 128 as a multiply-high, exact in range.
#pragma once

#include "backend/cpu/kernels.h"

namespace clutch::cpu {
namespace {

// floor(v / divisor), clipped to ±127, for lanes that hold v + 128·divisor limited to [0, 65535].
struct SmallDivision {
  explicit SmallDivision(const Divider& d)
      : most(set16(static_cast<int>(256 * d.divisor))),
        multiplier(set16(static_cast<int>(d.multiplier))),
        rest(count16(d.bits - 16)) {}
  I most, multiplier;  // 256·divisor <= 32,512
  Shift16 rest;

  // 128 more than the floor: in [0, 256].
  CLUTCH_SIMD I quotient(I u) const {
    return shift_right16(mul16_high_unsigned(min16_unsigned(u, most), multiplier), rest);
  }
  // Two vectors' results as bytes: [0, 256] saturates to [0, 255], and 0 becomes 1, so that less 128 it is
  // ±127.
  CLUTCH_SIMD I floor_biased(I a, I b) const {
    return bit_xor(max8_unsigned(narrow16_unsigned(quotient(a), quotient(b)), set8(1)), set8(-128));
  }
};

// clip(x // the divider's whole divisor), any divider.
inline std::int8_t divide_any(std::int64_t x, const Divider& d) {
  const std::int64_t limit = 128 * d.divisor;
  std::int64_t v = x >> d.shift;
  v = v > limit ? limit : v < -limit ? -limit : v;
  const auto u = static_cast<std::uint64_t>(v + limit);
  const auto quotient = static_cast<std::int64_t>(u * d.multiplier >> d.bits) - 128;
  return static_cast<std::int8_t>(quotient > 127 ? 127 : quotient < -127 ? -127 : quotient);
}

}  // namespace
}  // namespace clutch::cpu
