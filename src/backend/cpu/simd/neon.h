// Vectors of 16 bytes: NEON of AArch64. The names are those of avx512.h, which says more about them.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>

namespace clutch::cpu {
namespace {

using I = int8x16_t;
using Shift = int32x4_t;    // minus the count
using Shift16 = int16x8_t;  // minus the count
constexpr int kVectorBytes = 16;
constexpr int kBlockRows = 6;  // of four sums: 24 of 32 registers

#define CLUTCH_SIMD [[gnu::always_inline]] inline

CLUTCH_SIMD void pin(I (&sums)[4]) {
  asm volatile("" : "+w"(sums[0]), "+w"(sums[1]), "+w"(sums[2]), "+w"(sums[3]));
}
CLUTCH_SIMD void touch(I& a) { asm volatile("" : "+w"(a)); }
CLUTCH_SIMD void keep(I a) { asm volatile("" : : "w"(a)); }

CLUTCH_SIMD int16x8_t s16(I a) { return vreinterpretq_s16_s8(a); }
CLUTCH_SIMD int32x4_t s32(I a) { return vreinterpretq_s32_s8(a); }
CLUTCH_SIMD uint8x16_t u8(I a) { return vreinterpretq_u8_s8(a); }
CLUTCH_SIMD uint16x8_t u16(I a) { return vreinterpretq_u16_s8(a); }
CLUTCH_SIMD uint32x4_t u32(I a) { return vreinterpretq_u32_s8(a); }
CLUTCH_SIMD uint64x2_t u64(I a) { return vreinterpretq_u64_s8(a); }
CLUTCH_SIMD I any(int16x8_t a) { return vreinterpretq_s8_s16(a); }
CLUTCH_SIMD I any(int32x4_t a) { return vreinterpretq_s8_s32(a); }
CLUTCH_SIMD I any(uint8x16_t a) { return vreinterpretq_s8_u8(a); }
CLUTCH_SIMD I any(uint16x8_t a) { return vreinterpretq_s8_u16(a); }
CLUTCH_SIMD I any(uint32x4_t a) { return vreinterpretq_s8_u32(a); }
CLUTCH_SIMD I any(uint64x2_t a) { return vreinterpretq_s8_u64(a); }

CLUTCH_SIMD I load(const void* p) { return vld1q_s8(static_cast<const std::int8_t*>(p)); }
CLUTCH_SIMD void store(void* p, I a) { vst1q_s8(static_cast<std::int8_t*>(p), a); }
CLUTCH_SIMD I zero() { return vdupq_n_s8(0); }
CLUTCH_SIMD I set8(int x) { return vdupq_n_s8(static_cast<std::int8_t>(x)); }
CLUTCH_SIMD I set16(int x) { return any(vdupq_n_s16(static_cast<std::int16_t>(x))); }
CLUTCH_SIMD I set32(std::int32_t x) { return any(vdupq_n_s32(x)); }
CLUTCH_SIMD I set64(std::uint64_t x) { return any(vdupq_n_u64(x)); }
CLUTCH_SIMD I count64() { return any(vcombine_u64(vcreate_u64(0), vcreate_u64(1))); }

CLUTCH_SIMD I bit_and(I a, I b) { return vandq_s8(a, b); }
CLUTCH_SIMD I bit_or(I a, I b) { return vorrq_s8(a, b); }
CLUTCH_SIMD I bit_xor(I a, I b) { return veorq_s8(a, b); }
CLUTCH_SIMD I bit_xor3(I a, I b, I c) { return veorq_s8(veorq_s8(a, b), c); }

CLUTCH_SIMD I add8_saturate(I a, I b) { return vqaddq_s8(a, b); }
CLUTCH_SIMD I add8(I a, I b) { return vaddq_s8(a, b); }
CLUTCH_SIMD I sub8(I a, I b) { return vsubq_s8(a, b); }
CLUTCH_SIMD I min8(I a, I b) { return vminq_s8(a, b); }
CLUTCH_SIMD I max8(I a, I b) { return vmaxq_s8(a, b); }
CLUTCH_SIMD I max8_unsigned(I a, I b) { return any(vmaxq_u8(u8(a), u8(b))); }
CLUTCH_SIMD I abs8(I a) { return vabsq_s8(a); }
CLUTCH_SIMD I lookup16(I table, I index) { return vqtbl1q_s8(table, vandq_u8(u8(index), vdupq_n_u8(0x8F))); }
CLUTCH_SIMD int count_different8(I a, I b) { return vaddvq_u8(vshrq_n_u8(vmvnq_u8(vceqq_s8(a, b)), 7)); }

CLUTCH_SIMD I sum_pairs8(I a) { return any(vpaddlq_s8(a)); }

CLUTCH_SIMD I add16(I a, I b) { return any(vaddq_s16(s16(a), s16(b))); }
CLUTCH_SIMD I sub16(I a, I b) { return any(vsubq_s16(s16(a), s16(b))); }
CLUTCH_SIMD I min16(I a, I b) { return any(vminq_s16(s16(a), s16(b))); }
CLUTCH_SIMD I max16(I a, I b) { return any(vmaxq_s16(s16(a), s16(b))); }
CLUTCH_SIMD I abs16(I a) { return any(vabsq_s16(s16(a))); }
CLUTCH_SIMD I mul16(I a, I b) { return any(vmulq_s16(s16(a), s16(b))); }
CLUTCH_SIMD I mul16_high(I a, I b) {
  const int32x4_t low = vmull_s16(vget_low_s16(s16(a)), vget_low_s16(s16(b))),
                  high = vmull_high_s16(s16(a), s16(b));
  return any(vcombine_s16(vshrn_n_s32(low, 16), vshrn_n_s32(high, 16)));
}
CLUTCH_SIMD I mul16_high_unsigned(I a, I b) {
  const uint32x4_t low = vmull_u16(vget_low_u16(u16(a)), vget_low_u16(u16(b))),
                   high = vmull_high_u16(u16(a), u16(b));
  return any(vcombine_u16(vshrn_n_u32(low, 16), vshrn_n_u32(high, 16)));
}
// Sums in 16-bit lanes of two products of unsigned by signed bytes, which must fit 16 bits.
CLUTCH_SIMD I madd8(I a, I b) {
  const int16x8_t even = vmulq_s16(s16(bit_and(a, set16(255))), vshrq_n_s16(vshlq_n_s16(s16(b), 8), 8));
  return any(vmlaq_s16(even, vreinterpretq_s16_u16(vshrq_n_u16(u16(a), 8)), vshrq_n_s16(s16(b), 8)));
}
CLUTCH_SIMD I madd16(I a, I b) {
  return any(
      vpaddq_s32(vmull_s16(vget_low_s16(s16(a)), vget_low_s16(s16(b))), vmull_high_s16(s16(a), s16(b))));
}
template <int S>
CLUTCH_SIMD I shift_left16(I a) {
  return any(vshlq_n_s16(s16(a), S));
}
template <int S>
CLUTCH_SIMD I shift_right16(I a) {
  return any(vshrq_n_u16(u16(a), S));
}
template <int S>
CLUTCH_SIMD I shift_floor16(I a) {
  return any(vshrq_n_s16(s16(a), S));
}
CLUTCH_SIMD I copy_sign16(I a, I sign) {
  return any(vbslq_s16(vcltzq_s16(s16(sign)), vnegq_s16(s16(a)), s16(a)));
}
CLUTCH_SIMD Shift16 count16(int s) { return vdupq_n_s16(static_cast<std::int16_t>(-s)); }
CLUTCH_SIMD Shift16 count16_pair(std::uint32_t s) { return count16(static_cast<int>(s & 0xFFFF)); }
CLUTCH_SIMD I shift_right16(I a, Shift16 s) { return any(vshlq_u16(u16(a), s)); }
CLUTCH_SIMD I shift_floor16(I a, Shift16 s) { return any(vshlq_s16(s16(a), s)); }

CLUTCH_SIMD I add32(I a, I b) { return any(vaddq_s32(s32(a), s32(b))); }
CLUTCH_SIMD I sub32(I a, I b) { return any(vsubq_s32(s32(a), s32(b))); }
CLUTCH_SIMD I min32(I a, I b) { return any(vminq_s32(s32(a), s32(b))); }
CLUTCH_SIMD I max32(I a, I b) { return any(vmaxq_s32(s32(a), s32(b))); }
CLUTCH_SIMD I mul32(I a, I b) { return any(vmulq_s32(s32(a), s32(b))); }
template <int S>
CLUTCH_SIMD I shift_left32(I a) {
  return any(vshlq_n_s32(s32(a), S));
}
template <int S>
CLUTCH_SIMD I shift_floor32(I a) {
  return any(vshrq_n_s32(s32(a), S));
}
CLUTCH_SIMD Shift count32(int s) { return vdupq_n_s32(-s); }
CLUTCH_SIMD I shift_floor32(I a, Shift s) { return any(vshlq_s32(s32(a), s)); }
CLUTCH_SIMD I shift_right32(I a, Shift s) { return any(vshlq_u32(u32(a), s)); }
CLUTCH_SIMD I shift_left32(I a, Shift s) { return any(vshlq_s32(s32(a), vnegq_s32(s))); }

CLUTCH_SIMD I add64(I a, I b) { return any(vaddq_u64(u64(a), u64(b))); }
CLUTCH_SIMD I mul_even32(I a, I b) { return any(vmull_u32(vmovn_u64(u64(a)), vmovn_u64(u64(b)))); }
template <int S>
CLUTCH_SIMD I shift_left64(I a) {
  return any(vshlq_n_u64(u64(a), S));
}
template <int S>
CLUTCH_SIMD I shift_right64(I a) {
  return any(vshrq_n_u64(u64(a), S));
}
CLUTCH_SIMD I mul64(I a, I b) {
  const I cross = add64(mul_even32(a, shift_right64<32>(b)), mul_even32(shift_right64<32>(a), b));
  return add64(mul_even32(a, b), shift_left64<32>(cross));
}
CLUTCH_SIMD std::uint64_t sum64(I a) { return vaddvq_u64(u64(a)); }

CLUTCH_SIMD I low8(I a, I b) { return vzip1q_s8(a, b); }
CLUTCH_SIMD I high8(I a, I b) { return vzip2q_s8(a, b); }
CLUTCH_SIMD I low16(I a, I b) { return any(vzip1q_s16(s16(a), s16(b))); }
CLUTCH_SIMD I high16(I a, I b) { return any(vzip2q_s16(s16(a), s16(b))); }
CLUTCH_SIMD I low32(I a, I b) { return any(vzip1q_s32(s32(a), s32(b))); }
CLUTCH_SIMD I high32(I a, I b) { return any(vzip2q_s32(s32(a), s32(b))); }
CLUTCH_SIMD I low64(I a, I b) { return any(vzip1q_u64(u64(a), u64(b))); }
CLUTCH_SIMD I high64(I a, I b) { return any(vzip2q_u64(u64(a), u64(b))); }
CLUTCH_SIMD I narrow16(I a, I b) { return vcombine_s8(vqmovn_s16(s16(a)), vqmovn_s16(s16(b))); }
CLUTCH_SIMD I narrow16_unsigned(I a, I b) {
  return any(vcombine_u8(vqmovun_s16(s16(a)), vqmovun_s16(s16(b))));
}
CLUTCH_SIMD I narrow32(I a, I b) { return any(vcombine_s16(vqmovn_s32(s32(a)), vqmovn_s32(s32(b)))); }
CLUTCH_SIMD I narrow32_unsigned(I a, I b) {
  return any(vcombine_u16(vqmovun_s32(s32(a)), vqmovun_s32(s32(b))));
}
// Element 4·L + v of 32-bit elements to v·lanes + L, of 16-byte lanes L: there is one.
CLUTCH_SIMD I gather_quarters(I a) { return a; }
// Of each 32-bit lane the lower half of a and the upper half of b.
CLUTCH_SIMD I merge16(I a, I b) { return any(vbslq_u32(vdupq_n_u32(0xFFFF), u32(a), u32(b))); }
// Per 64-bit lane: the low word of a, and above it that of b.
CLUTCH_SIMD I low_words(I a, I b) { return any(vtrn1q_u32(u32(a), u32(b))); }
CLUTCH_SIMD I swap_middle32(I a) {
  return any(
      vcombine_s32(vget_low_s32(vuzp1q_s32(s32(a), s32(a))), vget_low_s32(vuzp2q_s32(s32(a), s32(a)))));
}

CLUTCH_SIMD I load_lanes(const std::int8_t* p, std::ptrdiff_t) { return load(p); }

CLUTCH_SIMD I sum_magnitudes(I a) { return any(vpaddlq_u16(vpaddlq_u8(u8(vabsq_s8(a))))); }

CLUTCH_SIMD void sums32(I a, I b, I c, I d, std::int32_t* out) {
  vst1q_s32(out, vpaddq_s32(vpaddq_s32(s32(a), s32(b)), vpaddq_s32(s32(c), s32(d))));
}

CLUTCH_SIMD int largest8(I a) { return vmaxvq_s8(a); }
CLUTCH_SIMD void largest_lanes16(I a, std::int16_t* out) { vst1q_s16(out, s16(a)); }
CLUTCH_SIMD int largest16(I a) { return vmaxvq_s16(s16(a)); }

CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return add32(sum, madd16(a, b)); }

struct Exp2Table {
  uint8x16x4_t bytes;
};
CLUTCH_SIMD Exp2Table load_exp2(const std::uint32_t* table) {
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(table);
  return {{{vld1q_u8(bytes), vld1q_u8(bytes + 16), vld1q_u8(bytes + 32), vld1q_u8(bytes + 48)}}};
}
CLUTCH_SIMD I exp2_term(const Exp2Table& t, uint32x4_t d) {
  const uint32x4_t entry = vandq_u32(d, vdupq_n_u32(15));
  const uint32x4_t places = vmlaq_u32(vdupq_n_u32(0x03020100), entry, vdupq_n_u32(0x04040404));
  const uint32x4_t value = vreinterpretq_u32_u8(vqtbl4q_u8(t.bytes, vreinterpretq_u8_u32(places)));
  return any(vshlq_u32(value, vnegq_s32(vreinterpretq_s32_u32(vshrq_n_u32(d, 4)))));
}
CLUTCH_SIMD I exp2_terms(const Exp2Table& t, I d) {
  const uint16x8_t low = vmovl_u8(vget_low_u8(u8(d))), high = vmovl_high_u8(u8(d));
  return add32(add32(exp2_term(t, vmovl_u16(vget_low_u16(low))), exp2_term(t, vmovl_high_u16(low))),
               add32(exp2_term(t, vmovl_u16(vget_low_u16(high))), exp2_term(t, vmovl_high_u16(high))));
}

}  // namespace
}  // namespace clutch::cpu
