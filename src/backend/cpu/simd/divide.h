// Division of 16-bit lanes by a number below 128 as a multiply-high, exact in range.
#pragma once

#include "backend/cpu/kernels.h"

namespace clutch::cpu {
namespace {

// floor(v / divisor), clipped to ±127, for lanes that hold u = v + 128·divisor limited to [0, 65535]. The
// quotient of u is exact up to 256·divisor, beyond it does not fall and stays below 2^15: with 16 bits the
// multiplier is at most 21,846, with more the shift that follows is by two bits at least. So quotients above
// 255 saturate as they must.
struct SmallDivision {
  explicit SmallDivision(const Divider& d)
      : multiplier(set16(static_cast<int>(d.multiplier))),
        rest(count16(d.bits - 16)),
        has_rest(d.bits > 16) {}
  I multiplier;
  Shift16 rest;
  bool has_rest;

  template <bool kRest>
  CLUTCH_SIMD I quotient(I u) const {
    const I high = mul16_high_unsigned(u, multiplier);
    return kRest ? shift_right16(high, rest) : high;
  }
  // Two vectors' results as bytes: quotients saturate to [0, 255], and 0 becomes 1, so that less 128 it is
  // ±127.
  template <bool kRest>
  CLUTCH_SIMD I floor_clipped(I a, I b) const {
    const I quotients = narrow16_unsigned(quotient<kRest>(a), quotient<kRest>(b));
    return bit_xor(max8_unsigned(quotients, set8(1)), set8(-128));
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
