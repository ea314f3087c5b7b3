// What a product needs to know of each row before its panels pass by: where its sums start, and its
// projections x·B on the noise.
#pragma once

#include "backend/cpu/kernels.h"

namespace clutch::cpu {
namespace {

constexpr int kLanes = kVectorBytes / 4;  // 32-bit

// Rows of a call are numbered member by member, token by token. Each fact is an array by row, with room for
// kLanes more, `step` words behind the one before, so that one pointer leads to all facts of a row and those
// after it.
struct RowFacts {
  std::int32_t* words;
  std::int64_t step;

  static constexpr int kArrays = 4;  // and one of projections per component
  RowFacts from(std::int64_t row) const { return {words + row, step}; }
  // Of every sum of the row.
  std::int32_t* start() const { return words; }
  // Added before the perturbation's shift, maybe with start (folds_start): a minus member's rounds up, so
  // that after negation the two members of a pair mirror each other.
  std::int32_t* rounding() const { return words + step; }
  // Of rank 1: x·B in both halves, as far as 16 bits hold it.
  std::int32_t* halves() const { return words + 2 * step; }
  // Not 0 where they do not; in the end, where one of the row's stretch does not.
  std::int32_t* beyond() const { return words + 3 * step; }
  // ± x·B of a component.
  std::int32_t* projections(int component) const { return words + (kArrays + component) * step; }
};

enum class Perturb {
  kNone,
  kSharedOnce,  // one member's noise of rank 1 for all rows
  kShared,      // the same with more components, A widened beforehand
  kEachOnce,    // each row its own member's, of rank 1
  kEach,        // the same with more components
  kEachWide,    // the same, or one member's, with projections beyond kMaxSplitProjection
  kScalar,  // sums or noise need more than 32 bits, or the division a wide multiplication: after the vectors
};

// The perturbation (p·A) >> s, p = x·B of up to 25 bits, is one multiply-add of 16-bit pairs,
// p = high·512 + low with 0 <= low < 512 and |high| <= 2^15, times (A·512, A), |A·512| <= 24,064. madd's one
// overflow (all four at -2^15) cannot occur.
constexpr std::int64_t kMaxSplitProjection = (1 << 24) - 1;
CLUTCH_SIMD I split_projections(I p) {
  return bit_or(shift_left32<16>(shift_floor32<9>(p)), bit_and(p, set32(511)));
}

// Of rank 1, (p·A) >> s is the high half of p·(A·2^(16 - s)) where p fits 16 bits, as nearly all do: half as
// many multiplications, and no shifts. |A| <= 47, so that with s >= 7 both factors fit, and the result too.
constexpr int kLeastHalfShift = 7, kMostHalfShift = 16;
constexpr bool takes_halves(const MatmulTask& task) {
  return task.rank == 1 && task.noise_shift >= kLeastHalfShift && task.noise_shift <= kMostHalfShift;
}

inline Perturb choose_perturb(const MatmulTask& task) {
  const Divider& d = task.divider;
  // (v + 128·divisor) << shift must fit a sum, and its 16-bit division a 16-bit multiplier.
  const bool divides =
      d.divisor == 1 || (d.divisor < 128 && task.largest_sum + (128 * d.divisor << d.shift) < INT32_MAX);
  if (!divides) return Perturb::kScalar;
  if (task.noise == nullptr) return Perturb::kNone;
  if (task.largest_perturbation + (std::int64_t{1} << task.noise_shift) >= INT32_MAX) return Perturb::kScalar;
  if (task.largest_projection > kMaxSplitProjection) return Perturb::kEachWide;
  if (task.tokens == 1) return task.rank == 1 ? Perturb::kEachOnce : Perturb::kEach;
  return task.rank == 1 ? Perturb::kSharedOnce : Perturb::kShared;
}

// Where a row's start fits the perturbation's sum before its shift, it is added there, once for all columns.
inline bool folds_start(const MatmulTask& task) {
  const Divider& d = task.divider;
  const std::int64_t start = (Dot::kBiased ? 128 * 127 * task.k : 0) + (128 * d.divisor << d.shift);
  const std::int64_t room = INT32_MAX - task.largest_perturbation - (std::int64_t{1} << task.noise_shift);
  return room > 0 && start <= room >> task.noise_shift;
}

// Σx of four rows, and their x·b, so that four horizontal sums are one. kOneB: all four b are the same.
template <bool kSums, bool kDots, bool kOneB>
CLUTCH_SIMD void sum_four(const std::int8_t* const (&x)[4], const std::int8_t* const (&b)[4], std::int64_t k,
                          std::int32_t* sums, std::int32_t* dots) {
  I s[4] = {zero(), zero(), zero(), zero()}, d[4] = {zero(), zero(), zero(), zero()};
  for (std::int64_t i = 0; i < k; i += kVectorBytes) {
    const I shared = kDots && kOneB ? load(b[0] + i) : zero();
#pragma GCC unroll 4
    for (int r = 0; r < 4; ++r) {
      const I xs = load(x[r] + i);
      if constexpr (kSums) s[r] = Dot::add_up(s[r], xs);
      if constexpr (kDots) d[r] = Dot::project(d[r], kOneB ? shared : load(b[r] + i), xs);
    }
  }
  if constexpr (kSums) sums32(s[0], s[1], s[2], s[3], sums);
  if constexpr (kDots) sums32(d[0], d[1], d[2], d[3], dots);
}

// Rows that lie at equal steps: a member's tokens with its noise (b_step 0), or the members at one token.
struct Stretch {
  std::int64_t rows;
  const std::int8_t* x;
  std::ptrdiff_t x_step;
  const MatrixNoise* noise;  // of the first row; null: none
  int noise_step;
};

// Raw sums of a stretch: Σx in start, x·B in projections, and in rounding -1 where the member is a minus. The
// last rows are repeated where four are not left. kOneB: all rows are one member's.
template <bool kNoisy, bool kOneB>
inline void sum_rows_as(const MatmulTask& task, const Stretch& stretch, const RowFacts& all_facts) {
  const Stretch s = stretch;  // copies, which no store below can change
  const RowFacts facts = all_facts;
  const int rank = kNoisy ? task.rank : 1;
  const std::int64_t k = task.k, last = s.rows - 1;
  for (std::int64_t r = 0; r < s.rows; r += 4) {
    const std::int8_t *x[4], *b[4] = {};
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < 4; ++i) {
      const std::int64_t at = r + i < last ? r + i : last;
      x[i] = s.x + at * s.x_step;
      if constexpr (kNoisy) b[i] = s.noise[kOneB ? 0 : at].b;
      if constexpr (kNoisy && !kOneB) facts.rounding()[r + i] = s.noise[at].sign >> 1;  // 1, -1 become 0, -1
    }
    sum_four<Dot::kBiased, kNoisy, kOneB>(x, b, k, facts.start() + r, facts.projections(0) + r);
    for (int j = 1; j < rank; ++j) {
      for (int i = 0; i < 4; ++i) b[i] += k;
      sum_four<false, kNoisy, kOneB>(x, b, k, nullptr, facts.projections(j) + r);
    }
  }
  if constexpr (kNoisy && kOneB) {
    for (std::int64_t r = 0; r < s.rows; r += kLanes) store(facts.rounding() + r, set32(s.noise->sign >> 1));
  }
}

inline void sum_rows(const MatmulTask& task, const Stretch& s, const RowFacts& facts) {
  if (s.noise != nullptr && s.noise_step == 0) return sum_rows_as<true, true>(task, s, facts);
  if (s.noise != nullptr) return sum_rows_as<true, false>(task, s, facts);
  if constexpr (Dot::kBiased) sum_rows_as<false, true>(task, s, facts);
}

// From raw sums to what blocks want. A difference is exact even where its two parts wrap.
inline void finish_rows(const MatmulTask& task, Perturb perturb, std::int64_t rows, const RowFacts& facts) {
  // Where the division wants v + 128·divisor; see Divider.
  const bool offset = task.divider.divisor != 1 && perturb != Perturb::kScalar;
  const I start =
      set32(offset ? static_cast<std::int32_t>(128 * task.divider.divisor << task.divider.shift) : 0);
  const I rounding = set32((1 << task.noise_shift) - 1);
  const bool splits = perturb != Perturb::kEachWide && perturb != Perturb::kScalar;
  const bool folds = perturb != Perturb::kScalar && folds_start(task);
  const I scale = set32(1 << task.noise_shift);
  for (std::int64_t r = 0; r < rows; r += kLanes) {
    const I bias = Dot::kBiased ? shift_left32<7>(load(facts.start() + r)) : zero();
    const I begin = sub32(start, bias);
    store(facts.start() + r, begin);
    if (task.noise == nullptr) continue;
    const I minus = load(facts.rounding() + r), rounds = bit_and(minus, rounding);
    store(facts.rounding() + r, folds ? add32(rounds, mul32(begin, scale)) : rounds);
    for (int j = 0; j < task.rank; ++j) {
      std::int32_t* place = facts.projections(j) + r;
      const I plain = sub32(load(place), bias), p = sub32(bit_xor(plain, minus), minus);
      store(place, splits ? split_projections(p) : p);
      if (j > 0) continue;
      store(facts.halves() + r, bit_or(bit_and(plain, set32(0xFFFF)), shift_left32<16>(plain)));
      store(facts.beyond() + r, shift_floor32<16>(add32(plain, set32(1 << 15))));
    }
  }
}

}  // namespace
}  // namespace clutch::cpu
