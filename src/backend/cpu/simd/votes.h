// Votes: a product over pairs, whose result moves weights instead of becoming a slot; and the digest of the
// weights.
#pragma once

#include "backend/cpu/generic/rules.h"
#include "backend/cpu/simd/matmul.h"
#include "exact/digest.h"

namespace clutch::cpu {
namespace {

// Rows' groups lie as pack_terms() leaves columns': for every kStep terms, 32 bits for each of kColumns rows
// in the panel's order. A row's groups are that far apart, so nothing needs transposing.
constexpr std::int64_t kHalves = kPad / kColumns;  // of a band, where vectors are shorter than it is wide
// Rows of a block, of four sums each; neighbours in the panel's order are neighbours in the matrix.
constexpr int kVoteRows = kBlockRows > 3 ? 4 : 2;

inline std::size_t vote_scratch_bytes(std::int64_t terms) {
  return 2 * packed_bytes(kPad, terms) + kPad * sizeof(std::int32_t);
}

// f·a cut into low + 128·high, low in [-64, 63]; |f·a| <= 127·47.
CLUTCH_SIMD void scale(I a, int fitness, I& low, I& high) {
  const I f = set16(fitness), half = set16(64);
  const I p = mul16(shift_floor16<8>(low8(zero(), a)), f), q = mul16(shift_floor16<8>(high8(zero(), a)), f);
  const I p_high = shift_floor16<7>(add16(p, half)), q_high = shift_floor16<7>(add16(q, half));
  high = narrow16(p_high, q_high);
  low = narrow16(sub16(p, shift_left16<7>(p_high)), sub16(q, shift_left16<7>(q_high)));
}
CLUTCH_SIMD I scale_narrow(I a, int fitness) {
  const I f = set16(fitness);
  return narrow16(mul16(shift_floor16<8>(low8(zero(), a)), f), mul16(shift_floor16<8>(high8(zero(), a)), f));
}

// Scratch memory, cut up: groups of the two parts of f·a, and where the sums of each row start.
struct VoteRows {
  explicit VoteRows(const VoteTask& task)
      : low(task.scratch),
        high(task.scratch + packed_bytes(kPad, task.terms)),
        start(reinterpret_cast<std::int32_t*>(task.scratch + 2 * packed_bytes(kPad, task.terms))) {}
  std::byte *low, *high;
  std::int32_t* start;
};

inline void scale_half(const VoteTask& task, std::int64_t half, const VoteRows& rows) {
  std::byte* low = rows.low + half * static_cast<std::int64_t>(panel_bytes(task.terms));
  std::byte* high = rows.high + half * static_cast<std::int64_t>(panel_bytes(task.terms));
  I low_sums[4] = {zero(), zero(), zero(), zero()}, high_sums[4] = {zero(), zero(), zero(), zero()};
  for (std::int64_t term = 0; term < task.terms; term += Dot::kStep) {
    I lows[Dot::kStep], highs[Dot::kStep];
    for (int i = 0; i < Dot::kStep; ++i) {
      const I a = load(task.a + (term + i) * kPad + half * kColumns);
      if (task.wide) {
        scale(a, task.fitness[term + i], lows[i], highs[i]);
      } else {
        lows[i] = scale_narrow(a, task.fitness[term + i]);
      }
    }
    Dot::template interleave<false>(lows, low);
    if (task.wide) Dot::template interleave<false>(highs, high);
    if constexpr (Dot::kBiased) {
      for (int v = 0; v < 4; ++v) {
        low_sums[v] = Dot::add_up(low_sums[v], load(low + v * kVectorBytes));
        if (task.wide) high_sums[v] = Dot::add_up(high_sums[v], load(high + v * kVectorBytes));
      }
    }
    low += 4 * kVectorBytes;
    high += 4 * kVectorBytes;
  }
  // Less 128·Σx where weights are biased; this may wrap where the vote fits.
  for (int v = 0; v < 4; ++v) {
    const I all = add32(low_sums[v], shift_left32<7>(high_sums[v]));
    store(rows.start + half * kColumns + v * kLanes, sub32(zero(), shift_left32<7>(all)));
  }
}

// One row's weights [count <= kColumns] moved where the votes say so; returns how many changed.
CLUTCH_SIMD int move_weights(const I (&votes)[4], I threshold, std::int8_t* weights, std::int64_t count) {
  const I negative = sub32(zero(), threshold);
  I beyond[4];  // 0 within the threshold, else of the vote's sign
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) beyond[v] = sub32(votes[v], max32(min32(votes[v], threshold), negative));
  // Saturation keeps signs.
  const I step =
      max8(min8(narrow16(narrow32(beyond[0], beyond[1]), narrow32(beyond[2], beyond[3])), set8(1)), set8(-1));
  if (count >= kColumns) {
    const I before = load(weights), after = max8(add8_saturate(before, step), set8(-exact::kClip));
    store(weights, after);
    return count_different8(before, after);
  }
  alignas(64) std::int8_t tail[kColumns] = {};
  __builtin_memcpy(tail, weights, static_cast<std::size_t>(count));
  const I before = load(tail), after = max8(add8_saturate(before, step), set8(-exact::kClip));
  store(tail, after);
  __builtin_memcpy(weights, tail, static_cast<std::size_t>(count));
  return count_different8(before, after);
}

// The same by any other rule; `first` is where the weights lie in the tensor's rows. Takes copies: were there
// an address of a sum, g++ 12 would keep them all in memory.
[[gnu::noinline]] std::int64_t move_by_other_rule(I a, I b, I c, I d, const RuleRows& rule,
                                                  std::int64_t first, std::int8_t* weights,
                                                  std::int64_t count) {
  alignas(64) std::int32_t lanes[kColumns], in_order[kColumns];
  store(lanes, a);
  store(lanes + kLanes, b);
  store(lanes + 2 * kLanes, c);
  store(lanes + 3 * kLanes, d);
#pragma GCC unroll 16
  for (int four = 0; four < kColumns / 4; ++four) {  // four lanes of a vector are four columns
    const int v = four / (kLanes / 4), lane = four % (kLanes / 4) * 4;
    __builtin_memcpy(in_order + column_of(v, lane), lanes + 4 * four, 4 * sizeof(std::int32_t));
  }
  return move_by_rule(rule, first, in_order, weights, count < kColumns ? count : kColumns);
}

struct VoteBlock {
  const Dot::X *low, *high;  // the first row's first group; high is null where nothing is wide
  const std::byte* panel;
  const std::int32_t* start;
  std::int64_t row, column;
};

template <int R>
[[gnu::noinline]] std::int64_t vote_block(const VoteTask& task, const VoteBlock& b) {
  constexpr int kGroup = 4 / static_cast<int>(sizeof(Dot::X)), kAdvance = static_cast<int>(kColumns) * kGroup;
  I sums[R][4];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
  if (b.high != nullptr) {
    Dot::template accumulate<R, kAdvance>(sums, b.high, kGroup, b.panel, task.terms / Dot::kStep);
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) sums[r][v] = shift_left32<7>(sums[r][v]);
    }
  }
  Dot::template accumulate<R, kAdvance>(sums, b.low, kGroup, b.panel, task.terms / Dot::kStep);
  std::int64_t moved = 0;
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    const I first = set32(b.start[r]);
    std::int32_t* kept =
        task.sums == nullptr ? nullptr : task.sums + (b.row + r) * padded(task.cols) + b.column;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      sums[r][v] = add32(sums[r][v], first);
      if (!task.first) sums[r][v] = add32(sums[r][v], load(kept + v * kLanes));
      if (!task.last) store(kept + v * kLanes, sums[r][v]);
    }
    if (!task.last) continue;
    const std::int64_t at = (b.row + r) * task.cols + b.column, count = task.cols - b.column;
    moved += task.rule.step->rule == exact::Rule::threshold
                 ? move_weights(sums[r], set32(task.threshold), task.weights + at, count)
                 : move_by_other_rule(sums[r][0], sums[r][1], sums[r][2], sums[r][3], task.rule, at,
                                      task.weights + at, count);
  }
  return moved;
}

inline std::int64_t vote(const VoteTask& task) {
  // Blocks meet a few rows at a time, which no prefetcher foresees: weights are asked for two columns of
  // blocks ahead.
  constexpr std::int64_t kAhead = 2 * kColumns;
  const auto ask_for = [&](std::int64_t row, std::int64_t column) {
    if (task.last && row < task.rows && column < task.cols)
      __builtin_prefetch(task.weights + row * task.cols + column);
  };
  for (std::int64_t column = 0; column < kAhead; column += kColumns) {
    for (std::int64_t row = 0; row < task.rows; ++row) ask_for(row, column);
  }
  const VoteRows rows(task);
  for (std::int64_t half = 0; half < kHalves; ++half) scale_half(task, half, rows);
  const auto bytes = static_cast<std::int64_t>(panel_bytes(task.terms));
  std::int64_t moved = 0;
  for (std::int64_t column = 0; column < task.cols; column += kColumns) {
    for (std::int64_t place = 0; place < kPad; place += kVoteRows) {  // in the panel's order
      const std::int64_t half = place / kColumns, in_half = place % kColumns;
      const std::int64_t row =
          half * kColumns + column_of(static_cast<int>(in_half / kLanes), static_cast<int>(in_half % kLanes));
      const auto groups = [&](const std::byte* part) {
        return reinterpret_cast<const Dot::X*>(part + half * bytes + in_half * 4);
      };
      VoteBlock b{.low = groups(rows.low),
                  .high = task.wide ? groups(rows.high) : nullptr,
                  .panel = task.packed_b + column / kColumns * bytes,
                  .start = rows.start + place,
                  .row = row,
                  .column = column};
      for (int r = 0; r < kVoteRows; ++r) ask_for(row + r, column + kAhead);
      if (row + kVoteRows <= task.rows) {
        moved += vote_block<kVoteRows>(task, b);
        continue;
      }
      for (; b.row < task.rows && b.row < row + kVoteRows; ++b.row, ++b.start) {
        moved += vote_block<1>(task, b);
        b.low += 4 / sizeof(Dot::X);
        if (b.high != nullptr) b.high += 4 / sizeof(Dot::X);
      }
    }
  }
  return moved;
}

// f · a · b of kColumns elements, two pairs at a time: a·b is at most 47² and fits 16 bits, and multiplies
// with two fitnesses to 32. Sums lie in the panel's order, as vote_block()'s.
inline std::int64_t vote_vector(const VectorVoteTask& task) {
  std::int64_t moved = 0;
  for (std::int64_t n = 0; n < task.count; n += kColumns) {
    I sums[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[v] = task.first ? zero() : load(task.sums + n + v * kLanes);
    for (std::int64_t p = 0; p < task.pairs; p += 2) {
      const std::int8_t *a = task.a + p * kPad + n, *b = task.b + p * kPad + n;
      const auto f = [&](int i) { return std::uint32_t{static_cast<std::uint16_t>(task.fitness[p + i])}; };
      const I both = set32(static_cast<std::int32_t>(f(0) | f(1) << 16));
      I low[2], high[2];
#pragma GCC unroll 2
      for (int i = 0; i < 2; ++i) {
        const I x = load(a + i * kPad), y = load(b + i * kPad);
        low[i] = mul16(shift_floor16<8>(low8(zero(), x)), shift_floor16<8>(low8(zero(), y)));
        high[i] = mul16(shift_floor16<8>(high8(zero(), x)), shift_floor16<8>(high8(zero(), y)));
      }
      sums[0] = add32(sums[0], madd16(low16(low[0], low[1]), both));
      sums[1] = add32(sums[1], madd16(high16(low[0], low[1]), both));
      sums[2] = add32(sums[2], madd16(low16(high[0], high[1]), both));
      sums[3] = add32(sums[3], madd16(high16(high[0], high[1]), both));
    }
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) store(task.sums + n + v * kLanes, sums[v]);
    if (!task.last) continue;
    moved += task.rule.step->rule == exact::Rule::threshold
                 ? move_weights(sums, set32(task.threshold), task.weights + n, task.count - n)
                 : move_by_other_rule(sums[0], sums[1], sums[2], sums[3], task.rule, n, task.weights + n,
                                      task.count - n);
  }
  return moved;
}

// exact::mix64 in 64-bit lanes.
CLUTCH_SIMD I mix64_lanes(I z) {
  z = mul64(bit_xor(z, shift_right64<30>(z)), set64(0xBF58476D1CE4E5B9));
  z = mul64(bit_xor(z, shift_right64<27>(z)), set64(0x94D049BB133111EB));
  return bit_xor(z, shift_right64<31>(z));
}

inline std::uint64_t digest(std::uint32_t tensor, std::uint32_t first_word, const std::int8_t* weights,
                            std::int64_t count) {
  I sums = zero();
  I place = add64(count64(), set64((std::uint64_t{tensor} << 32 | first_word) + 0x9E3779B97F4A7C15));
  std::int64_t done = 0;
  for (; done + kVectorBytes <= count; done += kVectorBytes) {
    sums = add64(sums, mix64_lanes(bit_xor(mix64_lanes(place), load(weights + done))));
    place = add64(place, set64(kVectorBytes / 8));
  }
  std::uint64_t sum = sum64(sums);
  for (; done < count; done += 8) {
    std::uint64_t word = 0;
    __builtin_memcpy(&word, weights + done, static_cast<std::size_t>(count - done < 8 ? count - done : 8));
    sum += exact::digest_term(tensor, first_word + static_cast<std::uint32_t>(done / 8), word);
  }
  return sum;
}

}  // namespace
}  // namespace clutch::cpu
