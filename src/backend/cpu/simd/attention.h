// Attention as two products per head, made by the same blocks as all others: queries by keys, and the weights
// of a softmax by values. A weight has up to 19 bits, so it is three rows of 7-bit digits, and three sums are
// put together again behind the product.
//
// Everything about positions is in their order, so that vectors of positions that no query of a block sees
// are left out; but for scores of 16 bits, which lie as narrowing in lanes leaves them.
#pragma once

#include "backend/cpu/simd/product.h"
#include "backend/cpu/simd/rescale.h"

namespace clutch::cpu {
namespace {

constexpr std::int64_t kHead = exact::kHeadWidth;
constexpr int kDigits = 3, kDigitBits = 7;

// --- memory
// -------------------------------------------------------------------------------------------------

// Bytes of the parts of scratch memory.
struct AttendSizes {
  AttendSizes(std::int64_t positions, std::int64_t queries) : padded_positions(padded(positions)) {
    const std::int64_t rows = kBlockRows * padded_positions;
    const std::int64_t prepared = kPrepares ? static_cast<std::int64_t>(sizeof(Dot::X)) : 0;
    packed = rounded_up(static_cast<std::int64_t>(packed_bytes(padded_positions, kHead)));
    scores = rounded_up(rows * 2);
    digits = rounded_up(rows * kDigits);
    wide_digits = rounded_up(rows * kDigits * prepared);
    wide_queries = rounded_up(queries * kHead * prepared);
  }
  std::int64_t padded_positions, packed, scores, digits, wide_digits, wide_queries;
};

inline std::size_t attend_scratch_bytes(std::int64_t positions, std::int64_t queries) {
  const AttendSizes s(positions, queries);
  return static_cast<std::size_t>(2 * s.packed + s.scores + s.digits + s.wide_digits + s.wide_queries);
}

struct AttendScratch {
  AttendScratch(void* memory, std::int64_t positions, std::int64_t queries) {
    const AttendSizes s(positions, queries);
    padded_positions = s.padded_positions;
    keys = static_cast<std::byte*>(memory);
    values = keys + s.packed;
    scores = reinterpret_cast<std::int16_t*>(values + s.packed);
    std::byte* all_digits = values + s.packed + s.scores;
    digits = reinterpret_cast<std::int8_t*>(all_digits);
    wide_digits = reinterpret_cast<Dot::X*>(kPrepares ? all_digits + s.digits : all_digits);
    wide_queries = reinterpret_cast<Dot::X*>(all_digits + s.digits + s.wide_digits);
  }
  std::int64_t padded_positions;
  std::byte *keys, *values;            // packed, of one head
  std::int16_t* scores;                // [kBlockRows][padded_positions]
  std::int8_t* digits;                 // [kBlockRows][kDigits][padded_positions]
  Dot::X *wide_digits, *wide_queries;  // as the Dot reads them; queries [queries][kHead] if it prepares
};

// --- packing
// ------------------------------------------------------------------------------------------------

// keys: a head's part of position 0, positions `step` apart; packed as weights of products over a head,
// vector by vector of positions.
inline void pack_keys(const std::int8_t* keys, std::int64_t step, std::int64_t positions, std::byte* packed) {
  for (std::int64_t first = 0; first < positions; first += kColumns, packed += panel_bytes(kHead)) {
    if (first + kColumns <= positions) {
      pack_panel(keys + first * step, step, kHead, 4, kLanes, packed);
      continue;
    }
    alignas(64) std::int8_t rows[kColumns * kHead] = {};
    for (std::int64_t p = first; p < positions; ++p)
      __builtin_memcpy(rows + (p - first) * kHead, keys + p * step, kHead);
    pack_panel(rows, kHead, kHead, 4, kLanes, packed);
  }
}

// The same for values, as weights of products over positions.
inline void pack_values(const std::int8_t* values, std::int64_t step, std::int64_t positions,
                        std::int64_t padded_positions, std::byte* packed) {
  for (std::int64_t column = 0; column < kHead; column += kColumns) {
    for (std::int64_t p = 0; p < padded_positions; p += Dot::kStep, packed += 4 * kVectorBytes) {
      I rows[Dot::kStep];
      for (int i = 0; i < Dot::kStep; ++i)
        rows[i] = p + i < positions ? load(values + (p + i) * step + column) : zero();
      Dot::template interleave<true>(rows, packed);
    }
  }
}

// --- scores and weights
// ---------------------------------------------------------------------------------------

// What sums of R rows of 64 begin with.
template <int R>
CLUTCH_SIMD void start_scores(const std::int8_t* queries, std::ptrdiff_t step, std::int32_t (&start)[8]) {
  if constexpr (Dot::kBiased) {
    I sums[8];
    for (I& sum : sums) sum = zero();
    for (int r = 0; r < R; ++r) {
      for (std::int64_t i = 0; i < kHead; i += kVectorBytes)
        sums[r] = Dot::add_up(sums[r], load(queries + r * step + i));
    }
    sums32(sums[0], sums[1], sums[2], sums[3], start);
    if constexpr (R > 4) sums32(sums[4], sums[5], sums[6], sums[7], start + 4);
    for (int r = 0; r < R; ++r) start[r] *= -128;
  } else {
    for (int r = 0; r < R; ++r) start[r] = 0;
  }
}

// What positions that do not count are scored: so little that the distance from any score weighs nothing, and
// yet fits 16 bits.
constexpr std::int16_t kMostScore = kHead * exact::kClip * exact::kClip >> exact::kScoreShift;
constexpr std::int16_t kNoScore = -2 * kMostScore;
static_assert(3 * kMostScore <= INT16_MAX && kMostScore >= 127);

// Vector v of a row's sums as scores; of the V there are.
template <int v, int V>
CLUTCH_SIMD I score_vector(const I (&sums)[V]) {
  if constexpr (v < V) return shift_floor32<exact::kScoreShift>(sums[v]);
  return set32(kNoScore);
}

// scores [R][kColumns], rows score_step apart, of a panel's positions, of which those beyond the first V
// vectors do not count.
template <int R, int V>
void score_panel(const Dot::X* x, std::ptrdiff_t x_step, const std::int32_t (&start)[8],
                 const std::byte* panel, std::int16_t* scores, std::int64_t score_step) {
  I sums[R][V];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) sums[r][v] = set32(start[r]);
  }
  Dot::template accumulate<R, kGroupElements>(sums, x, x_step, panel, kHead / Dot::kStep);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r, scores += score_step) {
    store(scores, narrow32(score_vector<0>(sums[r]), score_vector<1>(sums[r])));
    store(scores + kColumns / 2, narrow32(score_vector<2>(sums[r]), score_vector<3>(sums[r])));
  }
}

// scores [R][padded_positions] of all panels with some of the first `last` positions.
template <int R>
void score_block(const Dot::X* x, std::ptrdiff_t x_step, const std::int32_t (&start)[8], std::int64_t last,
                 const AttendScratch& scratch) {
  for (std::int64_t first = 0; first < last; first += kColumns) {
    const std::byte* panel = scratch.keys + first / kColumns * static_cast<std::int64_t>(panel_bytes(kHead));
    const auto score = [&](auto score_these) {
      score_these(x, x_step, start, panel, scratch.scores + first, scratch.padded_positions);
    };
    switch ((last - first + kLanes - 1) / kLanes) {
      case 1:
        score(score_panel<R, 1>);
        break;
      case 2:
        score(score_panel<R, 2>);
        break;
      case 3:
        score(score_panel<R, 3>);
        break;
      default:
        score(score_panel<R, 4>);
    }
  }
}

// The digits of a weight by its distance from the largest score.
template <int kDigit>
constexpr std::int8_t softmax_digit(int distance) {
  return static_cast<std::int8_t>(exact::kSoftmaxTable[distance] >> (kDigit * kDigitBits) & 127);
}
constexpr BlockTable<5> kLowDigits{softmax_digit<0>};
constexpr BlockTable<3> kMiddleDigits{softmax_digit<1>};
constexpr BlockTable<2> kHighDigits{softmax_digit<2>};
static_assert([] {  // what is not in the tables is 0; the distance is taken as 127 at most
  for (int d = 2 * 16; d < 256; ++d) {
    if (softmax_digit<2>(d) != 0 || (d >= 3 * 16 && softmax_digit<1>(d) != 0)) return false;
    if (d >= 5 * 16 && softmax_digit<0>(d) != 0) return false;
  }
  return true;
}());
struct SoftmaxTables {
  TableLanes<5> low{kLowDigits};
  TableLanes<3> middle{kMiddleDigits};
  TableLanes<2> high{kHighDigits};
};

// What a panel's scores are limited to, by how many of its positions count.
struct ScoreLimits {
  std::int16_t of[kColumns + 1][kColumns] = {};
  constexpr ScoreLimits() {
    constexpr int kHalf = kColumns / 2;
    for (int seen = 0; seen <= kColumns; ++seen) {
      for (int i = 0; i < kColumns; ++i) {
        const int lane = i % kHalf / 8, vector = i / kHalf * 2 + i % 8 / 4;
        const int position = vector * kLanes + lane * 4 + i % 4;
        of[seen][i] = position < seen ? INT16_MAX : kNoScore;
      }
    }
  }
};
constexpr ScoreLimits kScoreLimits;

// Limits the scores of positions from `seen` on; returns the largest.
CLUTCH_SIMD int mask_scores(std::int16_t* scores, std::int64_t positions, std::int64_t seen) {
  I largest = set16(INT16_MIN);
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    I near = load(scores + first), far = load(scores + first + kColumns / 2);
    if (first + kColumns > seen) {
      const std::int16_t* limits = kScoreLimits.of[seen > first ? seen - first : 0];
      near = min16(near, load(limits)), far = min16(far, load(limits + kColumns / 2));
      store(scores + first, near), store(scores + first + kColumns / 2, far);
    }
    largest = max16(largest, max16(near, far));
  }
  return largest16(largest);
}

// digits [kDigits][step] of the weights of `positions` positions, of which the first `seen` count; returns
// the sum of the weights, in lanes.
inline I weigh(std::int16_t* scores, std::int64_t positions, std::int64_t seen, const SoftmaxTables& tables,
               std::int8_t* digits, std::int64_t step) {
  const I top = set16(mask_scores(scores, positions, seen));
  I sums[kDigits] = {zero(), zero(), zero()};
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    const I near = sub16(top, load(scores + first)), far = sub16(top, load(scores + first + kColumns / 2));
    const TablePlaces<5> places(gather_quarters(narrow16(near, far)));  // 127 at most
    const I all[kDigits] = {lookup(tables.low, places), lookup(tables.middle, places),
                            lookup(tables.high, places)};
#pragma GCC unroll 3
    for (int k = 0; k < kDigits; ++k) {
      store(digits + k * step + first, all[k]);
      sums[k] = Dot::kBiased ? Dot::add_up(sums[k], all[k]) : add32(sums[k], sum_magnitudes(all[k]));
    }
  }
  const I upper = add32(sums[1], shift_left32<kDigitBits>(sums[2]));
  return add32(sums[0], shift_left32<kDigitBits>(upper));
}

// --- the average of values
// ----------------------------------------------------------------------------------

// A query's quotients floor(num / total), num = Σ weight·(value + 128), so that 0 < num < 256·total, and
// 2^18 <= total <= 2^28. With b = floor(log2 total), t = num >> (b - 6) has 15 bits, and r = floor(2^(14 + b)
// / total), of 15 bits, is less than 1 below 2^(14 + b) / total: t·r, over 2^20, is at most num / total and
// less than it by under 2^-6 + 2^-5, so that its floor is the quotient or one less. `next` is that plus 1,
// and the remainder that it leaves, within ±total where num needs more than 32 bits, says whether it is one
// too many.
struct Average {
  explicit Average(std::int32_t the_total) {
    const int b = exact::log2_floor(static_cast<std::uint64_t>(the_total));
    total = set32(the_total);
    reciprocal = set32(
        static_cast<std::int32_t>((std::uint64_t{1} << (14 + b)) / static_cast<std::uint64_t>(the_total)));
    shift = count32(b - 6), high_shift = count32(b - 6 - kDigitBits);
  }
  I total, reciprocal;
  Shift shift, high_shift;

  // num, which must fit 32 bits.
  CLUTCH_SIMD I operator()(I num) const { return quotient(num, shift_right32(num, shift)); }
  // num in two parts: that of the lowest digit, and that of the upper ones over 2^7.
  CLUTCH_SIMD I operator()(I low, I upper) const {
    return quotient(add32(low, shift_left32<kDigitBits>(upper)),
                    shift_right32(add32(upper, shift_floor32<kDigitBits>(low)), high_shift));
  }

 private:
  CLUTCH_SIMD I quotient(I num, I t) const {
    const I next = shift_floor32<20>(madd16_add(set32(1 << 20), t, reciprocal));
    return add32(next, shift_floor32<31>(sub32(num, mul32(next, total))));
  }
};

// sums [R][kColumns]: Σ weight·value of R queries, as the Dot has it (kBiased: value + 128), where weights
// have `count` digits from `digits` on. By way of memory: as one function with what follows, g++ 12 spills
// sums within the loop.
template <int R>
[[gnu::noinline]] void weighted_sums(const Dot::X* digits, int count, std::ptrdiff_t step,
                                     const std::byte* panel, std::int64_t steps, std::int32_t* out) {
  I sums[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
  for (int k = count - 1;; --k) {
    Dot::template accumulate<R, kGroupElements>(sums, digits + k * step, kDigits * step, panel, steps);
    if (k == 0) break;
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[r][v] = shift_left32<kDigitBits>(sums[r][v]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    for (int v = 0; v < 4; ++v) store(out + r * kColumns + v * kLanes, sums[r][v]);
  }
}

// R queries whose digits and sums of weights are given: their outputs. Where 64 positions or fewer weigh,
// sums fit 32 bits, 255·2^24 at most; otherwise (kWide) they come in two parts.
constexpr std::int64_t kNarrowPositions = 64;
template <int R, bool kWide>
void average_block(const Dot::X* digits, const std::int32_t* totals, std::int64_t terms,
                   const AttendScratch& scratch, std::int8_t* out, std::ptrdiff_t out_step) {
  const std::int64_t step = scratch.padded_positions, steps = terms / Dot::kStep;
  for (std::int64_t column = 0; column < kHead; column += kColumns) {
    const std::byte* panel =
        scratch.values + column / kColumns * static_cast<std::int64_t>(panel_bytes(step));
    alignas(64) std::int32_t low[R * kColumns], upper[R * kColumns];
    weighted_sums<R>(digits, kWide ? 1 : kDigits, step, panel, steps, low);
    if (kWide) weighted_sums<R>(digits + step, kDigits - 1, step, panel, steps, upper);
    for (int r = 0; r < R; ++r) {
      const Average average(totals[r]);
      const auto of = [&](const std::int32_t* sums, int v) { return load(sums + r * kColumns + v * kLanes); };
      // What the Dot left out, 128·total, or that over 2^7.
      const I bias = Dot::kBiased ? zero() : kWide ? average.total : shift_left32<7>(average.total);
      I a[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) {
        a[v] = kWide ? average(of(low, v), add32(of(upper, v), bias)) : average(add32(of(low, v), bias));
      }
      const I bytes = narrow16_unsigned(narrow32(a[0], a[1]), narrow32(a[2], a[3]));
      store(out + r * out_step + column, bit_xor(bytes, set8(-128)));
    }
  }
}

// --- a head
// -------------------------------------------------------------------------------------------------

// R queries of a head, the first at position `first`.
template <int R>
void attend_block(const AttendTask& task, std::int64_t query, std::int64_t head, const SoftmaxTables& tables,
                  const AttendScratch& scratch) {
  const std::int64_t step = scratch.padded_positions;
  const std::int64_t last = task.first + query + R;  // positions that the block's last query sees
  const std::int64_t positions = (last + kColumns - 1) / kColumns * kColumns;
  const std::int64_t terms = (last + kTermPad - 1) / kTermPad * kTermPad;  // the rest weigh nothing
  const std::int8_t* queries = task.queries + query * task.query_step + head;
  std::int32_t start[8];
  start_scores<R>(queries, task.query_step, start);
  if constexpr (kPrepares) {
    score_block<R>(scratch.wide_queries + query * kHead, kHead, start, last, scratch);
  } else {
    score_block<R>(queries, task.query_step, start, last, scratch);
  }
  I lanes[8];
  for (I& sum : lanes) sum = zero();
  for (int r = 0; r < R; ++r) {
    std::int8_t* digits = scratch.digits + r * kDigits * step;
    lanes[r] = weigh(scratch.scores + r * step, positions, last - R + r + 1, tables, digits, step);
    for (int k = 0; kPrepares && k < kDigits; ++k)
      Dot::prepare(digits + k * step, terms, scratch.wide_digits + (r * kDigits + k) * step);
  }
  std::int32_t totals[8];
  sums32(lanes[0], lanes[1], lanes[2], lanes[3], totals);
  if constexpr (R > 4) sums32(lanes[4], lanes[5], lanes[6], lanes[7], totals + 4);
  std::int8_t* out = task.out + query * task.out_step + head;
  last <= kNarrowPositions
      ? average_block<R, false>(scratch.wide_digits, totals, terms, scratch, out, task.out_step)
      : average_block<R, true>(scratch.wide_digits, totals, terms, scratch, out, task.out_step);
}

template <int R = kBlockRows>
void attend_block(int count, const AttendTask& task, std::int64_t query, std::int64_t head,
                  const SoftmaxTables& tables, const AttendScratch& scratch) {
  if (count == R) return attend_block<R>(task, query, head, tables, scratch);
  if constexpr (R > 1) attend_block<R - 1>(count, task, query, head, tables, scratch);
}

inline void attend(const AttendTask& task) {
  const std::int64_t positions = task.first + task.count;
  const AttendScratch scratch(task.scratch, positions, task.count);
  const SoftmaxTables tables;
  for (std::int64_t head = 0; head < task.width; head += kHead) {
    pack_keys(task.keys + head, task.width, positions, scratch.keys);
    pack_values(task.values + head, task.width, positions, scratch.padded_positions, scratch.values);
    for (std::int64_t q = 0; kPrepares && q < task.count; ++q)
      Dot::prepare(task.queries + q * task.query_step + head, kHead, scratch.wide_queries + q * kHead);
    // Equal blocks, as in run_stretch.
    for (std::int64_t query = 0, blocks = (task.count + kBlockRows - 1) / kBlockRows; blocks > 0; --blocks) {
      const std::int64_t count = (task.count - query + blocks - 1) / blocks;
      attend_block(static_cast<int>(count), task, query, head, tables, scratch);
      query += count;
    }
  }
}

}  // namespace
}  // namespace clutch::cpu
