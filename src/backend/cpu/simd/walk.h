// Ways through the rows of a product, panel by panel: in blocks that are multiplied in registers; or, where the Dot
// has tiles for it (isa/amxint8.cc), in batches that are multiplied to memory, while vectors perturb, divide and
// narrow what the batch before came to.
#pragma once

#include "backend/cpu/simd/matmul.h"

namespace clutch::cpu {
namespace {

// Asks for a piece of memory bit by bit: a panel of weights comes from the third-level cache or from memory,
// which takes longer than the first block of rows computes, unless it was asked for while the last panel was
// worked on.
class Prefetch {
 public:
  Prefetch(Ahead ahead, std::int64_t parts)
      : at_(ahead.data),
        end_(ahead.data + ahead.bytes),
        groups_((static_cast<std::ptrdiff_t>(ahead.bytes) / (parts < 1 ? 1 : parts) + kGroup - 1) / kGroup) {}
  // As many lines each time, maybe some beyond the end: a loop of another length now and then would be
  // guessed wrong by the processor, and blocks wait for that.
  CLUTCH_SIMD void part() {
    if (at_ >= end_) return;
    std::ptrdiff_t left = groups_;
    do {
#pragma GCC unroll 8
      for (std::ptrdiff_t line = 0; line < kGroup; line += 64) __builtin_prefetch(at_ + line, 0, 2);
      at_ += kGroup;
    } while (--left > 0);
  }

 private:
  static constexpr std::ptrdiff_t kGroup = 512;
  const std::byte *at_, *end_;
  std::ptrdiff_t groups_;
};

// What a walk needs of its call.
struct Walk {
  const MatmulTask& task;
  const Finish& finish;
  std::int32_t* shared_a;  // of widen_a(), where rows share it
};

template <Perturb P>
CLUTCH_SIMD void widen_shared_a(const Walk& walk, Block& b) {
  if constexpr (is_shared(P)) {
    widen_a(walk.task, walk.finish, *b.noise, b.column, walk.shared_a);
    b.shared_a = walk.shared_a;
  }
}

template <Perturb P, bool kSummed>
void run_rows(int rows, const Block& b, const Finish& finish) {
  if constexpr (is_once(P)) {
    if (finish.halves && b.facts.beyond()[0] == 0) return run_block<P, true, kSummed>(rows, b, finish);
  }
  run_block<P, false, kSummed>(rows, b, finish);
}

// Equal blocks: 16 rows are 6, 5 and 5, since fewer than four rows leave the multiplier waiting.
template <Perturb P>
class Blocks {
 public:
  Blocks(const Walk& walk, std::int64_t rows)
      : walk_(walk),
        count_(static_cast<std::uint32_t>(rows + kBlockRows - 1) / kBlockRows),
        least_(static_cast<std::uint32_t>(rows) / count_),
        longer_(static_cast<std::uint32_t>(rows) % count_) {}
  // Parts of a stretch, between which memory is asked for.
  std::int64_t parts() const { return count_; }

  // The rows of a stretch from b's on.
  void run(Block b, Prefetch& prefetch) {
    widen_shared_a<P>(walk_, b);
    for (std::uint32_t i = 0; i < count_; ++i) {
      const std::int64_t rows = least_ + (i < longer_ ? 1 : 0);
      prefetch.part();
      if constexpr (P == Perturb::kScalar) {
        for (std::int64_t r = 0; r < rows; ++r, advance(b, 1)) row_scalar(b, walk_.task);
      } else {
        run_rows<P, false>(static_cast<int>(rows), b, walk_.finish);
        advance(b, rows);
      }
    }
  }
  void end() {}

 private:
  const Walk walk_;
  const std::uint32_t count_, least_, longer_;
};

template <class D>
concept Tiled = requires { D::kTileRows; };

template <class D>
constexpr int rows_at_a_time() {
  if constexpr (Tiled<D>) {
    return D::kTileRows;
  } else {
    return kBlockRows;
  }
}

// Batches of up to two equal tiles. The last tile of a stretch may begin before the end of the one before: those rows
// are multiplied twice and finished once.
template <class D, Perturb P>
class Batches {
 public:
  Batches(const Walk& walk, std::int64_t rows)
      : walk_(walk),
        rows_(rows),
        tiles_((rows + D::kTileRows - 1) / D::kTileRows),
        height_((rows + tiles_ - 1) / tiles_) {
    D::begin_tiles(height_);
  }
  std::int64_t parts() const { return (tiles_ + 1) / 2; }

  void run(const Block& stretch, Prefetch& prefetch) {
    std::int64_t done = 0;
    for (std::int64_t tile = 0; tile < tiles_; tile += 2) {
      prefetch.part();
      const std::int64_t begin = first_row(tile), next = first_row(tile + 1);
      std::int32_t* sums = sums_[turn_];
      Block b = stretch;
      advance(b, begin);
      if (tile + 1 < tiles_) {
        std::int32_t* second = sums + (next - begin) * kColumns;
        const typename D::X* x = b.x + (next - begin) * b.x_step;
        D::multiply_tiles(b.x, x, b.x_step, b.panel, b.steps, sums, second);
        finish_waiting(waiting_rows_ / 2);
        D::multiply_tiles(b.x, x, b.x_step, b.panel + 2 * kVectorBytes, b.steps, sums + 2 * kLanes,
                          second + 2 * kLanes);
      } else {
        D::multiply_tile(b.x, b.x_step, b.panel, b.steps, sums);
      }
      finish_waiting(waiting_rows_);
      advance(b, done - begin);
      b.sums = sums + (done - begin) * kColumns;
      waiting_ = b;
      const std::int64_t end = (tile + 1 < tiles_ ? next : begin) + height_;
      waiting_rows_ = end - done;
      done = end;
      turn_ = 1 - turn_;
      widens_ = true;
    }
  }
  void end() {
    finish_waiting(waiting_rows_);
    D::end_tiles();
  }

 private:
  std::int64_t first_row(std::int64_t tile) const {
    const std::int64_t row = tile * height_;
    return row + height_ <= rows_ ? row : rows_ - height_;
  }

  // The first `rows` rows of the batch that waits.
  void finish_waiting(std::int64_t rows) {
    if (widens_ && rows > 0) widen_shared_a<P>(walk_, waiting_);
    widens_ = widens_ && rows == 0;
    waiting_rows_ -= rows;
    while (rows > 0) {
      const int count = rows > kBlockRows ? kBlockRows : static_cast<int>(rows);
      run_rows<P, true>(count, waiting_, walk_.finish);
      advance(waiting_, count);
      waiting_.sums += count * kColumns;
      rows -= count;
    }
  }

  const Walk walk_;
  const std::int64_t rows_, tiles_, height_;
  Block waiting_ = {};
  std::int64_t waiting_rows_ = 0;
  bool widens_ = false;
  int turn_ = 0;
  alignas(kVectorBytes) std::int32_t sums_[2][2 * D::kTileRows * kColumns];
};

}  // namespace
}  // namespace clutch::cpu
