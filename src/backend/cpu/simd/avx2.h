// Vectors of 32 bytes: AVX2. The names are those of avx512.h, which says more about them.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace clutch::cpu {
namespace {

using I = __m256i;
using Shift = __m256i;    // counts of 32-bit lanes
using Shift16 = __m128i;  // one count for all 16-bit lanes
constexpr int kVectorBytes = 32;
constexpr int kBlockRows = 3;  // of four sums: 12 of 16 registers

#define CLUTCH_SIMD [[gnu::always_inline]] inline

CLUTCH_SIMD void pin(I (&sums)[4]) {
  asm volatile("" : "+x"(sums[0]), "+x"(sums[1]), "+x"(sums[2]), "+x"(sums[3]));
}
CLUTCH_SIMD void touch(I& a) { asm volatile("" : "+x"(a)); }
CLUTCH_SIMD void keep(I a) { asm volatile("" : : "x"(a)); }

CLUTCH_SIMD I load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
CLUTCH_SIMD void store(void* p, I a) { _mm256_storeu_si256(static_cast<__m256i*>(p), a); }
CLUTCH_SIMD I zero() { return _mm256_setzero_si256(); }
CLUTCH_SIMD I set8(int x) { return _mm256_set1_epi8(static_cast<char>(x)); }
CLUTCH_SIMD I set16(int x) { return _mm256_set1_epi16(static_cast<short>(x)); }
CLUTCH_SIMD I set32(std::int32_t x) { return _mm256_set1_epi32(x); }
CLUTCH_SIMD I set64(std::uint64_t x) { return _mm256_set1_epi64x(static_cast<long long>(x)); }
CLUTCH_SIMD I count64() { return _mm256_set_epi64x(3, 2, 1, 0); }

CLUTCH_SIMD I bit_and(I a, I b) { return _mm256_and_si256(a, b); }
CLUTCH_SIMD I bit_or(I a, I b) { return _mm256_or_si256(a, b); }
CLUTCH_SIMD I bit_xor(I a, I b) { return _mm256_xor_si256(a, b); }
CLUTCH_SIMD I bit_xor3(I a, I b, I c) { return bit_xor(bit_xor(a, b), c); }

CLUTCH_SIMD I add8_saturate(I a, I b) { return _mm256_adds_epi8(a, b); }
CLUTCH_SIMD I add8(I a, I b) { return _mm256_add_epi8(a, b); }
CLUTCH_SIMD I sub8(I a, I b) { return _mm256_sub_epi8(a, b); }
CLUTCH_SIMD I min8(I a, I b) { return _mm256_min_epi8(a, b); }
CLUTCH_SIMD I max8(I a, I b) { return _mm256_max_epi8(a, b); }
CLUTCH_SIMD I max8_unsigned(I a, I b) { return _mm256_max_epu8(a, b); }
CLUTCH_SIMD I abs8(I a) { return _mm256_abs_epi8(a); }
CLUTCH_SIMD I lookup16(I table, I index) { return _mm256_shuffle_epi8(table, index); }
CLUTCH_SIMD int count_different8(I a, I b) {
  return __builtin_popcount(~static_cast<unsigned>(_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, b))));
}

CLUTCH_SIMD I sum_pairs8(I a) { return _mm256_maddubs_epi16(_mm256_set1_epi8(1), a); }

// Sums in 16-bit lanes of two products of unsigned by signed bytes, which must fit 16 bits (they would
// saturate).
CLUTCH_SIMD I madd8(I a, I b) { return _mm256_maddubs_epi16(a, b); }

CLUTCH_SIMD I add16(I a, I b) { return _mm256_add_epi16(a, b); }
CLUTCH_SIMD I sub16(I a, I b) { return _mm256_sub_epi16(a, b); }
CLUTCH_SIMD I min16(I a, I b) { return _mm256_min_epi16(a, b); }
CLUTCH_SIMD I max16(I a, I b) { return _mm256_max_epi16(a, b); }
CLUTCH_SIMD I abs16(I a) { return _mm256_abs_epi16(a); }
CLUTCH_SIMD I mul16(I a, I b) { return _mm256_mullo_epi16(a, b); }
CLUTCH_SIMD I mul16_high(I a, I b) { return _mm256_mulhi_epi16(a, b); }
CLUTCH_SIMD I mul16_high_unsigned(I a, I b) { return _mm256_mulhi_epu16(a, b); }
CLUTCH_SIMD I madd16(I a, I b) { return _mm256_madd_epi16(a, b); }
template <int S>
CLUTCH_SIMD I shift_left16(I a) {
  return _mm256_slli_epi16(a, S);
}
template <int S>
CLUTCH_SIMD I shift_right16(I a) {
  return _mm256_srli_epi16(a, S);
}
template <int S>
CLUTCH_SIMD I shift_floor16(I a) {
  return _mm256_srai_epi16(a, S);
}
CLUTCH_SIMD I copy_sign16(I a, I sign) { return _mm256_sign_epi16(a, sign); }  // 0 where sign is 0: so is a
CLUTCH_SIMD Shift16 count16(int s) { return _mm_cvtsi32_si128(s); }
CLUTCH_SIMD Shift16 count16_pair(std::uint32_t s) { return _mm_cvtsi32_si128(static_cast<int>(s & 0xFFFF)); }
CLUTCH_SIMD I shift_right16(I a, Shift16 s) { return _mm256_srl_epi16(a, s); }
CLUTCH_SIMD I shift_floor16(I a, Shift16 s) { return _mm256_sra_epi16(a, s); }

CLUTCH_SIMD I add32(I a, I b) { return _mm256_add_epi32(a, b); }
CLUTCH_SIMD I sub32(I a, I b) { return _mm256_sub_epi32(a, b); }
CLUTCH_SIMD I min32(I a, I b) { return _mm256_min_epi32(a, b); }
CLUTCH_SIMD I max32(I a, I b) { return _mm256_max_epi32(a, b); }
CLUTCH_SIMD I mul32(I a, I b) { return _mm256_mullo_epi32(a, b); }
template <int S>
CLUTCH_SIMD I shift_left32(I a) {
  return _mm256_slli_epi32(a, S);
}
template <int S>
CLUTCH_SIMD I shift_floor32(I a) {
  return _mm256_srai_epi32(a, S);
}
CLUTCH_SIMD Shift count32(int s) { return _mm256_set1_epi32(s); }
CLUTCH_SIMD I shift_floor32(I a, Shift s) { return _mm256_srav_epi32(a, s); }
CLUTCH_SIMD I shift_right32(I a, Shift s) { return _mm256_srlv_epi32(a, s); }
CLUTCH_SIMD I shift_left32(I a, Shift s) { return _mm256_sllv_epi32(a, s); }

CLUTCH_SIMD I add64(I a, I b) { return _mm256_add_epi64(a, b); }
CLUTCH_SIMD I mul_even32(I a, I b) { return _mm256_mul_epu32(a, b); }
template <int S>
CLUTCH_SIMD I shift_left64(I a) {
  return _mm256_slli_epi64(a, S);
}
template <int S>
CLUTCH_SIMD I shift_right64(I a) {
  return _mm256_srli_epi64(a, S);
}
CLUTCH_SIMD I mul64(I a, I b) {
  const I cross = add64(mul_even32(a, shift_right64<32>(b)), mul_even32(shift_right64<32>(a), b));
  return add64(mul_even32(a, b), shift_left64<32>(cross));
}
CLUTCH_SIMD std::uint64_t sum64(I a) {
  const __m128i half = _mm_add_epi64(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(half)) +
         static_cast<std::uint64_t>(_mm_extract_epi64(half, 1));
}

CLUTCH_SIMD I low8(I a, I b) { return _mm256_unpacklo_epi8(a, b); }
CLUTCH_SIMD I high8(I a, I b) { return _mm256_unpackhi_epi8(a, b); }
CLUTCH_SIMD I low16(I a, I b) { return _mm256_unpacklo_epi16(a, b); }
CLUTCH_SIMD I high16(I a, I b) { return _mm256_unpackhi_epi16(a, b); }
CLUTCH_SIMD I low32(I a, I b) { return _mm256_unpacklo_epi32(a, b); }
CLUTCH_SIMD I high32(I a, I b) { return _mm256_unpackhi_epi32(a, b); }
CLUTCH_SIMD I low64(I a, I b) { return _mm256_unpacklo_epi64(a, b); }
CLUTCH_SIMD I high64(I a, I b) { return _mm256_unpackhi_epi64(a, b); }
CLUTCH_SIMD I narrow16(I a, I b) { return _mm256_packs_epi16(a, b); }
CLUTCH_SIMD I narrow16_unsigned(I a, I b) { return _mm256_packus_epi16(a, b); }
CLUTCH_SIMD I narrow32(I a, I b) { return _mm256_packs_epi32(a, b); }
CLUTCH_SIMD I narrow32_unsigned(I a, I b) { return _mm256_packus_epi32(a, b); }
// Per 64-bit lane: the low word of a, and above it that of b.
CLUTCH_SIMD I low_words(I a, I b) { return _mm256_blend_epi32(a, _mm256_slli_epi64(b, 32), 0xAA); }
CLUTCH_SIMD I swap_middle32(I a) { return _mm256_shuffle_epi32(a, 0xD8); }
// Element 4·L + v of 32-bit elements to v·lanes + L, of 16-byte lanes L.
CLUTCH_SIMD I gather_quarters(I a) {
  return _mm256_permutevar8x32_epi32(a, _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
}
// Of each 32-bit lane the lower half of a and the upper half of b.
CLUTCH_SIMD I merge16(I a, I b) { return _mm256_blend_epi16(a, b, 0xAA); }

CLUTCH_SIMD I load_lanes(const std::int8_t* p, std::ptrdiff_t step) {
  const auto lane = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * step)); };
  return _mm256_inserti128_si256(_mm256_castsi128_si256(lane(0)), lane(1), 1);
}
CLUTCH_SIMD I load_lanes_widened(const std::int8_t* p, std::ptrdiff_t step) {
  const auto lane = [&](int i) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + i * step)); };
  return _mm256_cvtepi8_epi16(_mm_unpacklo_epi64(lane(0), lane(1)));
}

CLUTCH_SIMD I sum_magnitudes(I a) { return _mm256_sad_epu8(_mm256_abs_epi8(a), _mm256_setzero_si256()); }

CLUTCH_SIMD void sums32(I a, I b, I c, I d, std::int32_t* out) {
  const I all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
  const __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), sum);
}

CLUTCH_SIMD int largest8(I a) {
  __m128i q = _mm_max_epi8(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  q = _mm_xor_si128(q, _mm_set1_epi8(0x7F));
  q = _mm_min_epu8(q, _mm_srli_epi16(q, 8));
  return static_cast<std::int8_t>(
      _mm_extract_epi8(_mm_minpos_epu16(_mm_and_si128(q, _mm_set1_epi16(0xFF))), 0) ^ 0x7F);
}

CLUTCH_SIMD void largest_lanes16(I a, std::int16_t* out) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_max_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1)));
}
CLUTCH_SIMD int largest16(I a) {
  const __m128i q = _mm_max_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i least = _mm_minpos_epu16(_mm_xor_si128(q, _mm_set1_epi16(0x7FFF)));
  return static_cast<std::int16_t>(_mm_extract_epi16(least, 0) ^ 0x7FFF);
}

// Σ b·x by four bytes: |b| times x with b's sign. Pairs of products are at most 2·127² = 32,258, so that the
// 16-bit sums do not saturate.
CLUTCH_SIMD I dot_bytes(I sum, I b, I x) {
  const I pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(b), _mm256_sign_epi8(x, b));
  return add32(sum, madd16(pairs, set16(1)));
}

struct Exp2Table {
  I low, high;
};
CLUTCH_SIMD Exp2Table load_exp2(const std::uint32_t* table) { return {load(table), load(table + 8)}; }
CLUTCH_SIMD I exp2_term(const Exp2Table& t, __m128i d8) {
  const I d = _mm256_cvtepu8_epi32(d8);
  const __m256 low = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(t.low, d));
  const __m256 high = _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(t.high, d));
  const __m256 bit3 = _mm256_castsi256_ps(_mm256_slli_epi32(d, 28));  // a selection of bits, not arithmetic
  return _mm256_srlv_epi32(_mm256_castps_si256(_mm256_blendv_ps(low, high, bit3)), _mm256_srli_epi32(d, 4));
}
CLUTCH_SIMD I exp2_terms(const Exp2Table& t, I d) {
  const __m128i a = _mm256_castsi256_si128(d), b = _mm256_extracti128_si256(d, 1);
  return add32(add32(exp2_term(t, a), exp2_term(t, _mm_unpackhi_epi64(a, a))),
               add32(exp2_term(t, b), exp2_term(t, _mm_unpackhi_epi64(b, b))));
}

}  // namespace
}  // namespace clutch::cpu
