// Attention as two products per head, made by the same blocks as all others: queries by keys, and the weights
// of a softmax by values. A weight has up to 19 bits, so it is three rows of 7-bit digits, and three sums are
// put together again behind the product.
//
// Everything about positions is in their order, but for scores of 16 bits: those of a panel's positions lie
// as narrowing in lanes leaves them, elements 0..7 of each 16-byte block of positions before elements 8..15.
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

// keys: a head's part of position 0, positions `step` apart; packed as weights of products over a head.
inline void pack_keys(const std::int8_t* keys, std::int64_t step, std::int64_t positions, std::byte* packed) {
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    alignas(64) std::int8_t rows[kColumns * kHead];
    for (std::int64_t p = 0; p < kColumns; ++p) {
      const bool there = first + p < positions;
      for (std::int64_t i = 0; i < kHead; i += kVectorBytes)
        store(rows + p * kHead + i, there ? load(keys + (first + p) * step + i) : zero());
    }
    pack_panel(rows, kHead, packed);
    packed += panel_bytes(kHead);
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

// scores [R][padded_positions] of the first `positions` positions, a multiple of kColumns.
template <int R>
void score_block(const Dot::X* x, std::ptrdiff_t x_step, const std::int32_t (&start)[8],
                 std::int64_t positions, const AttendScratch& scratch) {
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    const std::byte* panel = scratch.keys + first / kColumns * static_cast<std::int64_t>(panel_bytes(kHead));
    I sums[R][4];
    for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = set32(start[r]);
    Dot::template accumulate<R, kGroupElements>(sums, x, x_step, panel, kHead / Dot::kStep);
    for (int r = 0; r < R; ++r) {
      const auto score = [&](int v) { return shift_floor32<exact::kScoreShift>(sums[r][v]); };
      std::int16_t* out = scratch.scores + r * scratch.padded_positions + first;
      store(out, narrow32(score(0), score(1)));
      store(out + kColumns / 2, narrow32(score(2), score(3)));
    }
  }
}

// The digits of a weight by its distance from the largest score, in blocks of 16.
struct SoftmaxDigits {
  std::int8_t of[kDigits][5][16] = {};  // all weights are 0 from 80 on
  constexpr SoftmaxDigits() {
    for (int d = 0; d < 80; ++d) {
      for (int k = 0; k < kDigits; ++k)
        of[k][d / 16][d % 16] = static_cast<std::int8_t>(exact::kSoftmaxTable[d] >> (k * kDigitBits) & 127);
    }
  }
};
constexpr SoftmaxDigits kSoftmaxDigits;
constexpr int kBlocksOf[kDigits] = {5, 3, 2};  // what is not 0 of them

// For each element of a panel's scores, its position.
struct ScorePositions {
  std::int16_t of[kColumns] = {};
  constexpr ScorePositions() {
    for (int i = 0; i < kColumns; ++i) {
      const int half = i / (static_cast<int>(kColumns) / 2), place = i % (static_cast<int>(kColumns) / 2);
      of[i] = static_cast<std::int16_t>(place / 8 * 16 + half * 8 + place % 8);
    }
  }
};
constexpr ScorePositions kScorePositions;

// The sums of a row's digits.
struct DigitSums {
  alignas(16) std::int32_t of[4];
  std::int32_t total() const { return of[0] + (of[1] << kDigitBits) + (of[2] << 2 * kDigitBits); }
};

// Scores of positions from `seen` on become the least there is; returns the largest.
CLUTCH_SIMD int mask_scores(std::int16_t* scores, std::int64_t positions, std::int64_t seen) {
  I largest = set16(INT16_MIN);
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    for (std::int64_t i = 0; i < kColumns; i += kColumns / 2) {
      I s = load(scores + first + i);
      if (first + kColumns > seen) {
        const I ahead = sub16(load(kScorePositions.of + i), set16(static_cast<int>(seen - first)));
        const I there = shift_floor16<15>(ahead);  // all ones or none
        s = bit_or(bit_and(s, there), bit_and(set16(INT16_MIN), bit_xor(there, set16(-1))));
        store(scores + first + i, s);
      }
      largest = max16(largest, s);
    }
  }
  return largest16(largest);
}

struct SoftmaxTables {
  SoftmaxTables() {
    for (int k = 0; k < kDigits; ++k) {
      for (int b = 0; b < kBlocksOf[k]; ++b) of[k][b] = load_lanes(kSoftmaxDigits.of[k][b], 0);
    }
  }
  I of[kDigits][5];
};

// digits [kDigits][step] of the weights of `positions` positions, of which the first `seen` count.
inline DigitSums weigh(std::int16_t* scores, std::int64_t positions, std::int64_t seen,
                       const SoftmaxTables& tables, std::int8_t* digits, std::int64_t step) {
  const I top = set16(mask_scores(scores, positions, seen)), most = set16(255);
  I sums[kDigits] = {zero(), zero(), zero()};
  for (std::int64_t first = 0; first < positions; first += kColumns) {
    const I low = min16_unsigned(sub16(top, load(scores + first)), most);
    const I high = min16_unsigned(sub16(top, load(scores + first + kColumns / 2)), most);
    const I distance = narrow16_unsigned(low, high);
    I index[5];
#pragma GCC unroll 5
    for (int b = 0; b < 5; ++b) index[b] = sub8(distance, set8(16 * b));
#pragma GCC unroll 3
    for (int k = 0; k < kDigits; ++k) {
      I digit = lookup16(tables.of[k][0], index[0]);
#pragma GCC unroll 4
      for (int b = 1; b < kBlocksOf[k]; ++b) digit = bit_or(digit, lookup16(tables.of[k][b], index[b]));
      store(digits + k * step + first, digit);
      sums[k] = Dot::kBiased ? Dot::add_up(sums[k], digit) : add32(sums[k], sum_magnitudes(digit));
    }
  }
  DigitSums all;
  sums32(sums[0], sums[1], sums[2], zero(), all.of);
  return all;
}

// --- the average of values
// ----------------------------------------------------------------------------------

// floor(num / total) with num = s0 + 2^7·s1 + 2^14·s2, |num| <= 127·total, 2^18 <= total <= 2^28. With b =
// floor(log2 total), t = num >> (b - 7) has 16 bits, and r = floor(2^(14 + b) / total), of 15 bits, is less
// than 1 below 2^(14 + b) / total. So t·r - 2^15, over 2^21, is at most num / total, as |t| <= 2^15, and less
// than it by under 2^17 / 2^21: its floor is the quotient or one less. `next` is that plus 1, and the
// remainder that it leaves, within ±total where num needs more than 32 bits, says whether it is one too many.
struct Average {
  explicit Average(std::int32_t the_total) {
    const int b = exact::log2_floor(static_cast<std::uint64_t>(the_total));
    total = set32(the_total);
    reciprocal = set32(
        static_cast<std::int32_t>((std::uint64_t{1} << (14 + b)) / static_cast<std::uint64_t>(the_total)));
    shift = count32(b - 14);
  }
  I total, reciprocal;
  Shift shift;

  CLUTCH_SIMD I operator()(I s0, I s1, I s2) const {
    const I upper = add32(shift_left32<7>(s2), s1),
            num_high = add32(upper, shift_floor32<7>(s0));  // num >> 7
    const I num = add32(s0, shift_left32<7>(upper));        // modulo 2^32
    const I next = shift_floor32<21>(
        madd16_add(set32((1 << 21) - (1 << 15)), shift_floor32(num_high, shift), reciprocal));
    return add32(next, shift_floor32<31>(sub32(num, mul32(next, total))));
  }
};

// Q queries whose digits and sums are given: their outputs.
template <int Q>
void average_block(const Dot::X* digits, const DigitSums* sums, std::int64_t terms,
                   const AttendScratch& scratch, std::int8_t* out, std::ptrdiff_t out_step) {
  constexpr int kRows = Q * kDigits;
  std::int32_t start[kRows];
  for (int r = 0; r < kRows; ++r) start[r] = Dot::kBiased ? -128 * sums[r / kDigits].of[r % kDigits] : 0;
  for (std::int64_t column = 0; column < kHead; column += kColumns) {
    Block b{};
    b.panel =
        scratch.values + column / kColumns * static_cast<std::int64_t>(panel_bytes(scratch.padded_positions));
    b.x = digits, b.x_step = scratch.padded_positions;
    b.steps = terms / Dot::kStep;
    b.facts.start = start;
    // By way of memory: as one function, g++ 12 spills sums within the loop.
    alignas(64) std::int32_t s[kRows * kColumns];
    block_sums<kRows>(b, s);
    for (int q = 0; q < Q; ++q) {
      const Average average(sums[q].total());
      const std::int32_t* of = s + q * kDigits * kColumns;
      I a[4];
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v, of += kLanes)
        a[v] = average(load(of), load(of + kColumns), load(of + 2 * kColumns));
      store(out + q * out_step + column, narrow16(narrow32(a[0], a[1]), narrow32(a[2], a[3])));
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
    score_block<R>(scratch.wide_queries + query * kHead, kHead, start, positions, scratch);
  } else {
    score_block<R>(queries, task.query_step, start, positions, scratch);
  }
  DigitSums sums[R];
  for (int r = 0; r < R; ++r) {
    std::int8_t* digits = scratch.digits + r * kDigits * step;
    sums[r] = weigh(scratch.scores + r * step, positions, last - R + r + 1, tables, digits, step);
    for (int k = 0; kPrepares && k < kDigits; ++k)
      Dot::prepare(digits + k * step, terms, scratch.wide_digits + (r * kDigits + k) * step);
  }
  constexpr int kTogether = kBlockRows / kDigits;
  for (int r = 0; r < R; r += kTogether) {
    const Dot::X* digits = scratch.wide_digits + r * kDigits * step;
    std::int8_t* out = task.out + (query + r) * task.out_step + head;
    if (r + kTogether <= R) {
      average_block<kTogether>(digits, sums + r, terms, scratch, out, task.out_step);
    } else {
      average_block<1>(digits, sums + r, terms, scratch, out, task.out_step);
    }
  }
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
