// The loops around blocks: all panels by all rows of a call; and votes, which are a product over pairs with
// another ending.
#pragma once

#include "backend/cpu/simd/walk.h"

namespace clutch::cpu {
namespace {

constexpr std::int64_t kScratchAlign = 64;

constexpr std::int64_t rounded_up(std::int64_t bytes) {
  return (bytes + kScratchAlign - 1) / kScratchAlign * kScratchAlign;
}

// Rows that are not bytes as they lie are prepared once per call.
constexpr bool kPrepares = sizeof(Dot::X) != 1;

// Words of the facts of a call; see Scratch.
constexpr std::int64_t facts_words(std::int64_t rows, int rank) {
  return rounded_up(rows + kLanes) * (RowFacts::kArrays + rank);
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
    facts = {words, rounded_up(rows + kLanes)};
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

// What a Prefetch asks for during a panel. Between states it is nothing: token after token meets the same weights,
// which stay in the second-level cache, and requests would only keep loads waiting.
inline Ahead next_panel(const MatmulTask& task, std::int64_t column) {
  if (task.tokens == 1) return {nullptr, 0};
  if (column + kColumns == task.n) return task.next;
  const std::size_t bytes = panel_bytes(task.k);
  return {
      static_cast<const std::byte*>(task.packed) + static_cast<std::size_t>(column / kColumns + 1) * bytes,
      bytes};
}

// Rows are made ready just before they meet their first panel, which then finds them in the first-level
// cache: as many stretches at a time as fill a part of it.
constexpr std::int64_t kReadyBytes = 12 << 10;

template <Perturb P>
void make_ready(const MatmulTask& task, const Stretches& stretches, std::int64_t begin, std::int64_t end,
                const Scratch& scratch) {
  for (std::int64_t s = begin; s < end; ++s) {
    const Stretch stretch = stretches.at(task, s);
    sum_rows(task, stretch, scratch.facts.from(s * stretch.rows));
    if constexpr (kPrepares) {
      for (std::int64_t r = 0; r < stretch.rows; ++r) {
        Dot::prepare(stretch.x + r * stretch.x_step, task.k,
                     scratch.prepared + (s * stretch.rows + r) * task.k);
      }
    }
  }
  finish_rows(task, P, (end - begin) * stretches.rows, scratch.facts.from(begin * stretches.rows));
  // One answer for a stretch, in each of its rows, where blocks begin.
  for (std::int64_t s = begin; is_once(P) && s < end; ++s) {
    std::int32_t* beyond = scratch.facts.beyond() + s * stretches.rows;
    std::int32_t any = 0;
    for (std::int64_t r = 0; r < stretches.rows; ++r) any |= beyond[r];
    for (std::int64_t r = 0; r < stretches.rows; ++r) beyond[r] = any;
  }
}

template <class Rows, Perturb P>
void run_panels(const MatmulTask& task, const Scratch& scratch) {
  const Finish finish(task);
  const Stretches stretches(task);
  const std::int64_t at_a_time = 1 + kReadyBytes / (stretches.rows * task.k);
  Rows rows({task, finish, scratch.shared_a}, stretches.rows);
  for (std::int64_t column = 0; column < task.n; column += kColumns) {
    const auto panel = static_cast<std::size_t>(column / kColumns) * panel_bytes(task.k);
    Prefetch prefetch(next_panel(task, column), stretches.count * rows.parts());
    for (std::int64_t s = 0; s < stretches.count; ++s) {
      const Stretch stretch = stretches.at(task, s);
      Dot::X* prepared = scratch.prepared + (kPrepares ? s * stretch.rows * task.k : 0);
      if (column == 0 && s % at_a_time == 0) {
        const std::int64_t end = s + at_a_time;
        make_ready<P>(task, stretches, s, end < stretches.count ? end : stretches.count, scratch);
      }
      if (is_shared(P) && s + 1 < stretches.count) __builtin_prefetch(task.noise[s + 1].a + column);
      rows.run({.panel = static_cast<const std::byte*>(task.packed) + panel,
                .x = rows_as(prepared, stretch.x),
                .x_step = kPrepares ? task.k : stretch.x_step,
                .y = task.y.row(s, 0) + column,
                .y_step = task.tokens == 1 ? task.y.member_step : task.y.token_step,
                .steps = task.k / Dot::kStep,
                .facts = scratch.facts.from(s * stretch.rows),
                .noise = stretch.noise,
                .noise_step = stretch.noise_step,
                .column = column},
               prefetch);
    }
  }
  rows.end();
}

template <class D, Perturb P>
void walk_panels(const MatmulTask& task, const Scratch& scratch) {
  if constexpr (Tiled<D> && P != Perturb::kScalar) {
    if (Stretches(task).rows >= D::kLeastTileRows) return run_panels<Batches<D, P>, P>(task, scratch);
  }
  run_panels<Blocks<P>, P>(task, scratch);
}

inline void matmul(const MatmulTask& task) {
  const Scratch scratch(task.scratch, task.members * task.tokens, task.rank);
  switch (choose_perturb(task)) {
    case Perturb::kNone:
      return walk_panels<Dot, Perturb::kNone>(task, scratch);
    case Perturb::kSharedOnce:
      return walk_panels<Dot, Perturb::kSharedOnce>(task, scratch);
    case Perturb::kShared:
      return walk_panels<Dot, Perturb::kShared>(task, scratch);
    case Perturb::kEachOnce:
      return walk_panels<Dot, Perturb::kEachOnce>(task, scratch);
    case Perturb::kEach:
      return walk_panels<Dot, Perturb::kEach>(task, scratch);
    case Perturb::kEachWide:
      return walk_panels<Dot, Perturb::kEachWide>(task, scratch);
    case Perturb::kScalar:
      return walk_panels<Dot, Perturb::kScalar>(task, scratch);
  }
}

}  // namespace
}  // namespace clutch::cpu
