// The loops around blocks: all panels by all rows of a call; and votes, which are a product over pairs with
// another ending.
#pragma once

#include "backend/cpu/simd/matmul.h"

namespace clutch::cpu {
namespace {

constexpr int kBlockRows = 6;
constexpr std::int64_t kScratchAlign = 64;

constexpr std::int64_t rounded_up(std::int64_t bytes) {
  return (bytes + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
}

// Rows that are not bytes as they lie are prepared once per call.
constexpr bool kPrepares = sizeof(Dot::X) != 1;

// Words of the facts of a call; see Scratch.
constexpr std::int64_t facts_words(std::int64_t rows, int rank) {
  return rounded_up(rows + kLanes) * (2 + rank);
}

inline std::size_t scratch_bytes(std::int64_t, std::int64_t k, std::int64_t rows, int rank) {
  const std::int64_t words = facts_words(rows, rank) + rank * kColumns;
  return static_cast<std::size_t>(words * 4 +
                                  (kPrepares ? rows * k * static_cast<std::int64_t>(sizeof(Dot::X)) : 0));
}

// Scratch memory, cut up.
struct Scratch {
  Scratch(void* memory, std::int64_t rows, int rank) {
    auto* words = static_cast<std::int32_t*>(memory);
    const std::int64_t step = rounded_up(rows + kLanes);
    facts = {words, words + step, words + 2 * step, step};
    shared_a = words + facts_words(rows, rank);
    prepared = reinterpret_cast<Dot::X*>(shared_a + rank * kColumns);
  }
  RowFacts facts;
  std::int32_t* shared_a;
  Dot::X* prepared;
};

struct Stretches {
  explicit Stretches(const MatmulTask& task)
      : count(task.tokens == 1 ? 1 : task.members), rows(task.tokens == 1 ? task.members : task.tokens) {}
  std::int64_t count, rows;

  Stretch at(const MatmulTask& task, std::int64_t s) const {
    const bool members = task.tokens == 1;
    return {rows, task.x.row(s, 0), members ? task.x.member_step : task.x.token_step,
            task.noise == nullptr ? nullptr : task.noise + s, members && task.noise != nullptr};
  }
};

// Rows as the Dot reads them: copied beforehand, or where they lie.
template <class X>
CLUTCH_SIMD const X* rows_as(X* prepared, const std::int8_t* plain) {
  if constexpr (kPrepares) {
    return prepared;
  } else {
    return plain;
  }
}

// Asks for a piece of memory bit by bit: a panel of weights comes from the third-level cache or from memory,
// which takes longer than the first block of rows computes, unless it was asked for while the last panel was
// worked on.
class Prefetch {
 public:
  Prefetch(Ahead ahead, std::int64_t parts)
      : at_(ahead.data),
        end_(ahead.data + ahead.bytes),
        part_(static_cast<std::ptrdiff_t>(ahead.bytes) / (parts < 1 ? 1 : parts) + 64) {}
  CLUTCH_SIMD void part() {
    const std::byte* to = end_ - at_ < part_ ? end_ : at_ + part_;
    for (; at_ < to; at_ += 64) __builtin_prefetch(at_, 0, 2);
  }

 private:
  const std::byte *at_, *end_;
  std::ptrdiff_t part_;
};

template <Perturb P>
void run_stretch(const MatmulTask& task, const Finish& finish, Block b, std::int64_t rows,
                 Prefetch& prefetch) {
  // Equal blocks: 16 rows are 6, 5 and 5, since fewer than four rows leave the multiplier waiting.
  for (std::int64_t done = 0, blocks = (rows + kBlockRows - 1) / kBlockRows; blocks > 0; --blocks) {
    const std::int64_t count = (rows - done + blocks - 1) / blocks;
    prefetch.part();
    if constexpr (P == Perturb::kScalar) {
      for (std::int64_t r = 0; r < count; ++r) {
        block_scalar<1>(b, task);
        b.x += b.x_step, b.y += b.y_step, b.facts = b.facts.from(1), b.noise += b.noise_step;
      }
    } else {
      run_block<P>(static_cast<int>(count), b, finish);
      b.x += count * b.x_step, b.y += count * b.y_step, b.facts = b.facts.from(count),
                                                        b.noise += count * b.noise_step;
    }
    done += count;
  }
}

template <Perturb P>
void run_panels(const MatmulTask& task, const Scratch& scratch) {
  const Finish finish(task);
  const Stretches stretches(task);
  for (std::int64_t column = 0; column < task.n; column += kColumns) {
    const auto panel = static_cast<std::size_t>(column / kColumns) * panel_bytes(task.k);
    const bool last = column + kColumns == task.n;
    const std::int64_t blocks = stretches.count * ((stretches.rows + kBlockRows - 1) / kBlockRows);
    Prefetch prefetch(last ? task.next
                           : Ahead{static_cast<const std::byte*>(task.packed) + panel + panel_bytes(task.k),
                                   panel_bytes(task.k)},
                      blocks);
    for (std::int64_t s = 0; s < stretches.count; ++s) {
      const Stretch stretch = stretches.at(task, s);
      Block b{.panel = static_cast<const std::byte*>(task.packed) + panel,
              .x = rows_as(scratch.prepared + (kPrepares ? s * stretch.rows * task.k : 0), stretch.x),
              .x_step = kPrepares ? task.k : stretch.x_step,
              .y = task.y.row(s, 0) + column,
              .y_step = task.tokens == 1 ? task.y.member_step : task.y.token_step,
              .steps = task.k / Dot::kStep,
              .facts = scratch.facts.from(s * stretch.rows),
              .shared_a = scratch.shared_a,
              .noise = stretch.noise,
              .noise_step = stretch.noise_step,
              .column = column};
      if constexpr (P == Perturb::kShared || P == Perturb::kSharedOnce) {
        widen_a(task, *stretch.noise, column, scratch.shared_a);
      }
      run_stretch<P>(task, finish, b, stretch.rows, prefetch);
    }
  }
}

inline void matmul(const MatmulTask& task) {
  const Perturb perturb = choose_perturb(task);
  const std::int64_t rows = task.members * task.tokens;
  const Scratch scratch(task.scratch, rows, task.rank);
  const Stretches stretches(task);
  for (std::int64_t s = 0; s < stretches.count; ++s) {
    sum_rows(task, stretches.at(task, s), scratch.facts.from(s * stretches.rows));
  }
  finish_rows(task, perturb, rows, scratch.facts);
  if constexpr (kPrepares) {
    for (std::int64_t m = 0, r = 0; m < task.members; ++m) {
      for (std::int64_t t = 0; t < task.tokens; ++t, ++r) {
        Dot::prepare(task.x.row(m, t), task.k, scratch.prepared + r * task.k);
      }
    }
  }
  switch (perturb) {
    case Perturb::kNone:
      return run_panels<Perturb::kNone>(task, scratch);
    case Perturb::kSharedOnce:
      return run_panels<Perturb::kSharedOnce>(task, scratch);
    case Perturb::kShared:
      return run_panels<Perturb::kShared>(task, scratch);
    case Perturb::kEach:
      return run_panels<Perturb::kEach>(task, scratch);
    case Perturb::kScalar:
      return run_panels<Perturb::kScalar>(task, scratch);
  }
}

// --- votes ------------------------------------------------------------------------------------------------

// One row's weights [count <= kColumns] moved where the votes say so; returns how many changed.
CLUTCH_SIMD int move_weights(const I (&votes)[4], I threshold, std::int8_t* weights, std::int64_t count) {
  const I negative = sub32(zero(), threshold);
  I beyond[4];  // 0 within the threshold, else of the vote's sign
#pragma GCC unroll 4
  for (int v = 0; v < 4; ++v) beyond[v] = sub32(votes[v], max32(min32(votes[v], threshold), negative));
  // Saturation keeps signs.
  const I step =
      max8(min8(narrow16(narrow32(beyond[0], beyond[1]), narrow32(beyond[2], beyond[3])), set8(1)), set8(-1));
  alignas(64) std::int8_t tail[kColumns] = {};
  std::int8_t* place = weights;
  if (count < kColumns) {
    __builtin_memcpy(tail, weights, static_cast<std::size_t>(count));
    place = tail;
  }
  const I before = load(place), after = max8(add8_saturate(before, step), set8(-exact::kClip));
  store(place, after);
  if (count < kColumns) __builtin_memcpy(weights, tail, static_cast<std::size_t>(count));
  return count_different8(before, after);
}

template <int R>
[[gnu::noinline]] std::int64_t vote_block(const VoteTask& task, const Dot::X* low, const Dot::X* high,
                                          const std::byte* panel, const std::int32_t* start, std::int64_t row,
                                          std::int64_t column) {
  I sums[R][4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
  if (high != nullptr) {
    Dot::template accumulate<R>(sums, high, task.terms, panel, task.terms / Dot::kStep);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      for (int v = 0; v < 4; ++v) sums[r][v] = shift_left32<7>(sums[r][v]);
    }
  }
  Dot::template accumulate<R>(sums, low, task.terms, panel, task.terms / Dot::kStep);
  const std::int64_t left = task.cols - column, count = left < kColumns ? left : kColumns;
  std::int64_t moved = 0;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const I first = set32(start[r]);
    std::int32_t* kept = task.sums == nullptr ? nullptr : task.sums + (row + r) * padded(task.cols) + column;
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      sums[r][v] = add32(sums[r][v], first);
      if (!task.first) sums[r][v] = add32(sums[r][v], load(kept + v * kLanes));
      if (!task.last) store(kept + v * kLanes, sums[r][v]);
    }
    if (!task.last) continue;
    moved +=
        move_weights(sums[r], set32(task.threshold), task.weights + (row + r) * task.cols + column, count);
  }
  return moved;
}

inline std::int32_t add_up(const std::int8_t* x, std::int64_t count) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < count; ++i) sum += x[i];
  return sum;
}

inline std::int64_t vote(const VoteTask& task) {
  const Scratch scratch(task.scratch, 2 * task.rows, 1);
  std::int32_t* start = scratch.facts.start;
  for (std::int64_t r = 0; r < task.rows; ++r) {
    const std::int8_t* low = task.low + r * task.terms;
    const std::int8_t* high = task.high == nullptr ? nullptr : task.high + r * task.terms;
    start[r] = 0;
    if constexpr (Dot::kBiased) {
      // Wraps where the vote itself fits.
      start[r] = static_cast<std::int32_t>(
          0u - 128u * static_cast<std::uint32_t>(add_up(low, task.terms)) -
          (high == nullptr ? 0u : 128u * 128u * static_cast<std::uint32_t>(add_up(high, task.terms))));
    }
    if constexpr (kPrepares) {
      Dot::prepare(low, task.terms, scratch.prepared + r * task.terms);
      if (high != nullptr) Dot::prepare(high, task.terms, scratch.prepared + (task.rows + r) * task.terms);
    }
  }
  const Dot::X* low = rows_as(scratch.prepared, task.low);
  const Dot::X* high = task.high == nullptr
                           ? nullptr
                           : rows_as(scratch.prepared + (kPrepares ? task.rows * task.terms : 0), task.high);
  std::int64_t moved = 0;
  for (std::int64_t column = 0; column < task.cols; column += kColumns) {
    const std::byte* panel = static_cast<const std::byte*>(task.packed_b) +
                             static_cast<std::size_t>(column / kColumns) * panel_bytes(task.terms);
    for (std::int64_t row = 0; row < task.rows;) {
      const Dot::X *l = low + row * task.terms, *h = high == nullptr ? nullptr : high + row * task.terms;
      if (task.rows - row >= 4) {
        moved += vote_block<4>(task, l, h, panel, start + row, row, column);
        row += 4;
      } else {
        moved += vote_block<1>(task, l, h, panel, start + row, row, column);
        row += 1;
      }
    }
  }
  return moved;
}

}  // namespace
}  // namespace clutch::cpu
