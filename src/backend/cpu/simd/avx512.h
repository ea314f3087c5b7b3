// Vectors of 64 bytes: AVX-512 F, BW, DQ, VL. The names are those of every header of this kind (avx2.h,
// neon.h); the algorithms beside it are written in them. Everything lives in an unnamed namespace: each
// translation unit of isa/ gets its own copy, compiled with its own flags.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace clutch::cpu {
namespace {

using I = __m512i;
using Shift = __m512i;    // counts of 32-bit lanes
using Shift16 = __m512i;  // counts of 16-bit lanes
constexpr int kVectorBytes = 64;
constexpr int kBlockRows = 6;  // of four sums: 24 of 32 registers

#define CLUTCH_SIMD [[gnu::always_inline]] inline

// Keeps sums in their registers. g++ 12, left alone, spills some of 24 sums or not depending on unrelated
// code after the loop, which costs a factor of two.
CLUTCH_SIMD void pin(I (&sums)[4]) {
  asm volatile("" : "+v"(sums[0]), "+v"(sums[1]), "+v"(sums[2]), "+v"(sums[3]));
}
CLUTCH_SIMD void touch(I& a) { asm volatile("" : "+v"(a)); }
CLUTCH_SIMD void keep(I a) { asm volatile("" : : "v"(a)); }

CLUTCH_SIMD I load(const void* p) { return _mm512_loadu_si512(p); }
CLUTCH_SIMD void store(void* p, I a) { _mm512_storeu_si512(p, a); }
CLUTCH_SIMD I zero() { return _mm512_setzero_si512(); }
CLUTCH_SIMD I set8(int x) { return _mm512_set1_epi8(static_cast<char>(x)); }
CLUTCH_SIMD I set16(int x) { return _mm512_set1_epi16(static_cast<short>(x)); }
CLUTCH_SIMD I set32(std::int32_t x) { return _mm512_set1_epi32(x); }
CLUTCH_SIMD I set64(std::uint64_t x) { return _mm512_set1_epi64(static_cast<long long>(x)); }
CLUTCH_SIMD I count64() { return _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0); }

CLUTCH_SIMD I bit_and(I a, I b) { return _mm512_and_si512(a, b); }
CLUTCH_SIMD I bit_or(I a, I b) { return _mm512_or_si512(a, b); }
CLUTCH_SIMD I bit_xor(I a, I b) { return _mm512_xor_si512(a, b); }
CLUTCH_SIMD I bit_xor3(I a, I b, I c) { return _mm512_ternarylogic_epi32(a, b, c, 0x96); }

CLUTCH_SIMD I add8_saturate(I a, I b) { return _mm512_adds_epi8(a, b); }
CLUTCH_SIMD I add8(I a, I b) { return _mm512_add_epi8(a, b); }
CLUTCH_SIMD I sub8(I a, I b) { return _mm512_sub_epi8(a, b); }
CLUTCH_SIMD I min8(I a, I b) { return _mm512_min_epi8(a, b); }
CLUTCH_SIMD I max8(I a, I b) { return _mm512_max_epi8(a, b); }
CLUTCH_SIMD I max8_unsigned(I a, I b) { return _mm512_max_epu8(a, b); }
CLUTCH_SIMD I abs8(I a) { return _mm512_abs_epi8(a); }
// table[index % 16] in each lane; 0 where the index is negative.
CLUTCH_SIMD I lookup16(I table, I index) { return _mm512_shuffle_epi8(table, index); }
CLUTCH_SIMD int count_different8(I a, I b) { return __builtin_popcountll(_mm512_cmpneq_epi8_mask(a, b)); }

// Sums of two neighbours in 16-bit lanes: at most 254, so that nothing saturates.
CLUTCH_SIMD I sum_pairs8(I a) { return _mm512_maddubs_epi16(_mm512_set1_epi8(1), a); }

// Sums in 16-bit lanes of two products of unsigned by signed bytes, which must fit 16 bits (they would
// saturate).
CLUTCH_SIMD I madd8(I a, I b) { return _mm512_maddubs_epi16(a, b); }

CLUTCH_SIMD I add16(I a, I b) { return _mm512_add_epi16(a, b); }
CLUTCH_SIMD I sub16(I a, I b) { return _mm512_sub_epi16(a, b); }
CLUTCH_SIMD I min16(I a, I b) { return _mm512_min_epi16(a, b); }
CLUTCH_SIMD I max16(I a, I b) { return _mm512_max_epi16(a, b); }
CLUTCH_SIMD I abs16(I a) { return _mm512_abs_epi16(a); }
CLUTCH_SIMD I mul16(I a, I b) { return _mm512_mullo_epi16(a, b); }
CLUTCH_SIMD I mul16_high(I a, I b) { return _mm512_mulhi_epi16(a, b); }
CLUTCH_SIMD I mul16_high_unsigned(I a, I b) { return _mm512_mulhi_epu16(a, b); }
CLUTCH_SIMD I madd16(I a, I b) { return _mm512_madd_epi16(a, b); }
template <int S>
CLUTCH_SIMD I shift_left16(I a) {
  return _mm512_slli_epi16(a, S);
}
template <int S>
CLUTCH_SIMD I shift_right16(I a) {
  return _mm512_srli_epi16(a, S);
}
template <int S>
CLUTCH_SIMD I shift_floor16(I a) {
  return _mm512_srai_epi16(a, S);
}
// a where sign >= 0, else -a.
CLUTCH_SIMD I copy_sign16(I a, I sign) {
  return _mm512_mask_sub_epi16(a, _mm512_movepi16_mask(sign), _mm512_setzero_si512(), a);
}
CLUTCH_SIMD Shift16 count16(int s) { return _mm512_set1_epi16(static_cast<short>(s)); }
CLUTCH_SIMD Shift16 count16_pair(std::uint32_t s) {
  return _mm512_set1_epi32(static_cast<int>(s));
}  // twice 16 bits
CLUTCH_SIMD I shift_right16(I a, Shift16 s) { return _mm512_srlv_epi16(a, s); }
CLUTCH_SIMD I shift_floor16(I a, Shift16 s) { return _mm512_srav_epi16(a, s); }

CLUTCH_SIMD I add32(I a, I b) { return _mm512_add_epi32(a, b); }
CLUTCH_SIMD I sub32(I a, I b) { return _mm512_sub_epi32(a, b); }
CLUTCH_SIMD I min32(I a, I b) { return _mm512_min_epi32(a, b); }
CLUTCH_SIMD I max32(I a, I b) { return _mm512_max_epi32(a, b); }
CLUTCH_SIMD I mul32(I a, I b) { return _mm512_mullo_epi32(a, b); }
template <int S>
CLUTCH_SIMD I shift_left32(I a) {
  return _mm512_slli_epi32(a, S);
}
template <int S>
CLUTCH_SIMD I shift_floor32(I a) {
  return _mm512_srai_epi32(a, S);
}
CLUTCH_SIMD Shift count32(int s) { return _mm512_set1_epi32(s); }
CLUTCH_SIMD I shift_floor32(I a, Shift s) { return _mm512_srav_epi32(a, s); }
CLUTCH_SIMD I shift_right32(I a, Shift s) { return _mm512_srlv_epi32(a, s); }
CLUTCH_SIMD I shift_left32(I a, Shift s) { return _mm512_sllv_epi32(a, s); }

CLUTCH_SIMD I mul64(I a, I b) { return _mm512_mullo_epi64(a, b); }
CLUTCH_SIMD I add64(I a, I b) { return _mm512_add_epi64(a, b); }
CLUTCH_SIMD I mul_even32(I a, I b) { return _mm512_mul_epu32(a, b); }
template <int S>
CLUTCH_SIMD I shift_left64(I a) {
  return _mm512_slli_epi64(a, S);
}
template <int S>
CLUTCH_SIMD I shift_right64(I a) {
  return _mm512_srli_epi64(a, S);
}
// Modulo 2^64; the intrinsic that reduces adds signed numbers.
CLUTCH_SIMD std::uint64_t sum64(I a) {
  const __m256i half = _mm256_add_epi64(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(pair)) +
         static_cast<std::uint64_t>(_mm_extract_epi64(pair, 1));
}

// Interleaving and narrowing stay within 16-byte lanes, so that low and high halves, once narrowed again, lie
// as they lay before.
CLUTCH_SIMD I low8(I a, I b) { return _mm512_unpacklo_epi8(a, b); }
CLUTCH_SIMD I high8(I a, I b) { return _mm512_unpackhi_epi8(a, b); }
CLUTCH_SIMD I low16(I a, I b) { return _mm512_unpacklo_epi16(a, b); }
CLUTCH_SIMD I high16(I a, I b) { return _mm512_unpackhi_epi16(a, b); }
CLUTCH_SIMD I low32(I a, I b) { return _mm512_unpacklo_epi32(a, b); }
CLUTCH_SIMD I high32(I a, I b) { return _mm512_unpackhi_epi32(a, b); }
CLUTCH_SIMD I low64(I a, I b) { return _mm512_unpacklo_epi64(a, b); }
CLUTCH_SIMD I high64(I a, I b) { return _mm512_unpackhi_epi64(a, b); }
CLUTCH_SIMD I narrow16(I a, I b) { return _mm512_packs_epi16(a, b); }
CLUTCH_SIMD I narrow16_unsigned(I a, I b) { return _mm512_packus_epi16(a, b); }
CLUTCH_SIMD I narrow32(I a, I b) { return _mm512_packs_epi32(a, b); }
CLUTCH_SIMD I narrow32_unsigned(I a, I b) { return _mm512_packus_epi32(a, b); }
// Per 64-bit lane: the low word of a, and above it that of b.
CLUTCH_SIMD I low_words(I a, I b) {
  return _mm512_mask_shuffle_epi32(a, 0xAAAA, b, static_cast<_MM_PERM_ENUM>(0xA0));
}
CLUTCH_SIMD I swap_middle32(I a) { return _mm512_shuffle_epi32(a, static_cast<_MM_PERM_ENUM>(0xD8)); }

// Element 4·L + v of 32-bit elements to v·lanes + L, of 16-byte lanes L.
CLUTCH_SIMD I gather_quarters(I a) {
  return _mm512_permutexvar_epi32(_mm512_set_epi32(15, 11, 7, 3, 14, 10, 6, 2, 13, 9, 5, 1, 12, 8, 4, 0), a);
}
// Of each 32-bit lane the lower half of a and the upper half of b.
CLUTCH_SIMD I merge16(I a, I b) { return _mm512_mask_blend_epi16(0xAAAAAAAA, a, b); }

// Each 16-byte lane from its own place.
CLUTCH_SIMD I load_lanes(const std::int8_t* p, std::ptrdiff_t step) {
  const auto lane = [&](int i) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p + i * step)); };
  const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(lane(0)), lane(1), 1);
  const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(lane(2)), lane(3), 1);
  return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
}

// The same with 8 bytes each, widened to 16 bits.
CLUTCH_SIMD I load_lanes_widened(const std::int8_t* p, std::ptrdiff_t step) {
  const auto lane = [&](int i) { return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p + i * step)); };
  const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_unpacklo_epi64(lane(0), lane(1))),
                                                _mm_unpacklo_epi64(lane(2), lane(3)), 1);
  return _mm512_cvtepi8_epi16(bytes);
}

// Sums of the absolute values of bytes, in some lanes.
CLUTCH_SIMD I sum_magnitudes(I a) { return _mm512_sad_epu8(_mm512_abs_epi8(a), _mm512_setzero_si512()); }

CLUTCH_SIMD __m128i fold(I a) {
  const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}
// out[i] = the sum of the 32-bit lanes of the i-th.
CLUTCH_SIMD void sums32(I a, I b, I c, I d, std::int32_t* out) {
  const I ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const I cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const I all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), fold(all));
}

CLUTCH_SIMD int largest8(I a) {
  __m256i h = _mm256_max_epi8(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  __m128i q = _mm_max_epi8(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  // The smallest unsigned 16-bit lane is an instruction: of 255 - (x ^ 0x80), the larger the smaller.
  q = _mm_xor_si128(q, _mm_set1_epi8(0x7F));
  q = _mm_min_epu8(q, _mm_srli_epi16(q, 8));
  return static_cast<std::int8_t>(
      _mm_extract_epi8(_mm_minpos_epu16(_mm_and_si128(q, _mm_set1_epi16(0xFF))), 0) ^ 0x7F);
}

// out[i], i < 8: the largest of the i-th 16-bit lanes of all 16-byte lanes.
CLUTCH_SIMD void largest_lanes16(I a, std::int16_t* out) {
  const __m256i h = _mm256_max_epi16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out),
                   _mm_max_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1)));
}
CLUTCH_SIMD int largest16(I a) {
  const __m256i h = _mm256_max_epi16(_mm512_castsi512_si256(a), _mm512_extracti64x4_epi64(a, 1));
  const __m128i q = _mm_max_epi16(_mm256_castsi256_si128(h), _mm256_extracti128_si256(h, 1));
  const __m128i least = _mm_minpos_epu16(_mm_xor_si128(q, _mm_set1_epi16(0x7FFF)));
  return static_cast<std::int16_t>(_mm_extract_epi16(least, 0) ^ 0x7FFF);
}

// table[d & 15] >> (d >> 4) for the four quarters of bytes d, added up in 32-bit lanes: 4 terms a lane.
struct Exp2Table {
  I entries;
};
CLUTCH_SIMD Exp2Table load_exp2(const std::uint32_t* table) { return {_mm512_loadu_si512(table)}; }
// Byte kByte of each lane. Lookups take the lowest four bits of a lane.
template <int kByte>
CLUTCH_SIMD I exp2_term(const Exp2Table& t, I d) {
  const int zeros = static_cast<int>(0x80808000);
  const I places =
      _mm512_set4_epi32(zeros | (12 + kByte), zeros | (8 + kByte), zeros | (4 + kByte), zeros | kByte);
  const I byte = _mm512_shuffle_epi8(d, places);
  return _mm512_srlv_epi32(_mm512_permutexvar_epi32(byte, t.entries), _mm512_srli_epi32(byte, 4));
}
CLUTCH_SIMD I exp2_terms(const Exp2Table& t, I d) {
  return _mm512_add_epi32(_mm512_add_epi32(exp2_term<0>(t, d), exp2_term<1>(t, d)),
                          _mm512_add_epi32(exp2_term<2>(t, d), exp2_term<3>(t, d)));
}

}  // namespace
}  // namespace clutch::cpu
