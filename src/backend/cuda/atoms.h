// Products of bytes on one group of threads: 16 rows of the left by kTiles · kColumns rows of the right, both
// row-major along K. An atom says which rows a thread loads, and which sums it ends up with; the sums of
// element k may come in any order, so that both sides agree on one in which every thread loads 16 bytes in a
// row.
#pragma once

#include "backend/cuda/arguments.h"
#include "backend/cuda/vendor.h"

namespace clutch::cuda::CLUTCH_VENDOR {

struct alignas(16) Bytes16 {
  std::uint32_t words[4];
};
__device__ __forceinline__ Bytes16 load16(const std::int8_t* from) {
  return *reinterpret_cast<const Bytes16*>(from);
}

// Columns of the right are dealt to tiles in turn: column c of tile i is row 4c + i of the right. So a
// thread's sums of a row are kRun columns that lie side by side.
constexpr int kTiles = 4;

// On mma.sync m16n8k32: thread 4g + t holds rows g and g + 8 of the left and row g of the right, 16 bytes at
// 16t of 64, which are two instructions' worth; of the sums rows g and g + 8, columns 2t and 2t + 1.
struct Atom16x8x32 {
  static constexpr int kLanes = 32, kColumns = 8, kDepth = 64;
  static constexpr int kLeftRows = 2, kRightRows = 1, kSumRows = 2, kSumColumns = 2;
  static __device__ __forceinline__ int left_row(int lane, int i) { return lane / 4 + 8 * i; }
  static __device__ __forceinline__ int right_row(int lane, int) { return lane / 4; }
  static __device__ __forceinline__ int offset(int lane) { return lane % 4 * 16; }
  static __device__ __forceinline__ int sum_row(int lane, int i) { return lane / 4 + 8 * i; }
  static __device__ __forceinline__ int sum_column(int lane) { return lane % 4 * 2; }
  // The left's words are brought in order once for all tiles.
  static __device__ __forceinline__ void step(std::int32_t (&sums)[kTiles][4], const Bytes16 (&left)[2],
                                              const Bytes16 (&right)[kTiles][1]) {
#pragma unroll
    for (int half = 0; half < 4; half += 2) {
      const std::uint32_t a[4] = {left[0].words[half], left[1].words[half], left[0].words[half + 1],
                                  left[1].words[half + 1]};
#pragma unroll
      for (int tile = 0; tile < kTiles; ++tile) {
        const std::uint32_t b[2] = {right[tile][0].words[half], right[tile][0].words[half + 1]};
        multiply_16x8x32(sums[tile], a, b);
      }
    }
  }
};

// On v_mfma_i32_16x16x16i8, wavefronts of 64: thread 16c + r holds row r of the left and of the right, 16
// bytes at 16c of 64, four instructions' worth; of the sums rows 4c .. 4c + 3, column r.
struct Atom16x16x16 {
  static constexpr int kLanes = 64, kColumns = 16, kDepth = 64;
  static constexpr int kLeftRows = 1, kRightRows = 1, kSumRows = 4, kSumColumns = 1;
  static __device__ __forceinline__ int left_row(int lane, int) { return lane % 16; }
  static __device__ __forceinline__ int right_row(int lane, int) { return lane % 16; }
  static __device__ __forceinline__ int offset(int lane) { return lane / 16 * 16; }
  static __device__ __forceinline__ int sum_row(int lane, int i) { return lane / 16 * 4 + i; }
  static __device__ __forceinline__ int sum_column(int lane) { return lane % 16; }
  static __device__ __forceinline__ void step(std::int32_t (&sums)[kTiles][4], const Bytes16 (&left)[1],
                                              const Bytes16 (&right)[kTiles][1]) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) multiply_16x16x16(sums[tile], left[0].words[i], right[tile][0].words[i]);
    }
  }
};

// By each thread for itself, four bytes at a time. 32 is the 16 · 8 sums over a thread's four, no warp's
// width.
struct AtomDot {
  static constexpr int kLanes = 32, kColumns = 8, kDepth = 16;
  static constexpr int kLeftRows = 2, kRightRows = 2, kSumRows = 2, kSumColumns = 2;
  static __device__ __forceinline__ int left_row(int lane, int i) { return lane / 4 + 8 * i; }
  static __device__ __forceinline__ int right_row(int lane, int i) { return lane % 4 * 2 + i; }
  static __device__ __forceinline__ int offset(int) { return 0; }
  static __device__ __forceinline__ int sum_row(int lane, int i) { return lane / 4 + 8 * i; }
  static __device__ __forceinline__ int sum_column(int lane) { return lane % 4 * 2; }
  static __device__ __forceinline__ void step(std::int32_t (&sums)[kTiles][4], const Bytes16 (&left)[2],
                                              const Bytes16 (&right)[kTiles][2]) {
#pragma unroll
    for (int tile = 0; tile < kTiles; ++tile) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
#pragma unroll
        for (int w = 0; w < 4; ++w)
          sums[tile][i] = dot4(left[i / 2].words[w], right[tile][i % 2].words[w], sums[tile][i]);
      }
    }
  }
};

template <Matrix>
struct AtomFor {
  using Type = AtomDot;
};
template <>
struct AtomFor<Matrix::k16x8x32> {
  using Type = Atom16x8x32;
};
template <>
struct AtomFor<Matrix::k16x16x16> {
  using Type = Atom16x16x16;
};
using Atom = AtomFor<kMatrix>::Type;

constexpr int kGroupColumns = kTiles * Atom::kColumns;
constexpr int kRun = kTiles * Atom::kSumColumns;

// A thread's sums of kRowTiles · 16 rows: [row tile][tile][row · kSumColumns + column].
template <int kRowTiles>
struct Sums {
  std::int32_t of[kRowTiles][kTiles][Atom::kSumRows * Atom::kSumColumns] = {};
};

// Row `row` of row tile `r`, column `column` of the thread's run.
template <int kRowTiles>
__device__ __forceinline__ std::int32_t sum_at(const Sums<kRowTiles>& sums, int r, int row, int column) {
  return sums.of[r][column % kTiles][row * Atom::kSumColumns + column / kTiles];
}

// sums += left · rightᵀ over `depth` elements of K, a multiple of 64. left: row 0, at K = 0, in shared
// memory. right_at(row): where in right_rows that row of the right is at K = 0, row < kGroupColumns.
//
// Rows of the right go straight into registers, and the next round's while this one multiplies: a copy in
// shared memory, which asynchronous copies would fill, would add a write, a read and a barrier.
template <int kRowTiles, class RightAt>
__device__ __forceinline__ void multiply(Sums<kRowTiles>& sums, const std::int8_t* left,
                                         std::uint32_t left_pitch, std::uint32_t depth,
                                         const std::int8_t* right_rows, RightAt right_at) {
  const int lane = static_cast<int>(threadIdx.x) % Atom::kLanes;
  std::uint32_t rows[kTiles][Atom::kRightRows];
  Bytes16 even[kTiles][Atom::kRightRows], odd[kTiles][Atom::kRightRows];  // of the right, by rounds
#pragma unroll
  for (int i = 0; i < kTiles; ++i) {
#pragma unroll
    for (int r = 0; r < Atom::kRightRows; ++r)
      rows[i][r] =
          right_at(Atom::right_row(lane, r) * kTiles + i) + static_cast<std::uint32_t>(Atom::offset(lane));
  }
  const auto load = [&](Bytes16(&to)[kTiles][Atom::kRightRows], std::uint32_t k) {
#pragma unroll
    for (int i = 0; i < kTiles; ++i) {
#pragma unroll
      for (int r = 0; r < Atom::kRightRows; ++r) to[i][r] = load16(right_rows + rows[i][r] + k);
    }
  };
  const std::int8_t* mine = left + Atom::offset(lane);
  const auto round = [&](const Bytes16(&right)[kTiles][Atom::kRightRows], std::uint32_t k) {
#pragma unroll
    for (int tile = 0; tile < kRowTiles; ++tile) {
      Bytes16 part[Atom::kLeftRows];
#pragma unroll
      for (int i = 0; i < Atom::kLeftRows; ++i) {
        const auto row =
            static_cast<std::uint32_t>(static_cast<int>(kRowTile) * tile + Atom::left_row(lane, i));
        part[i] = load16(mine + row * left_pitch + k);
      }
      Atom::step(sums.of[tile], part, right);
    }
  };
  load(even, 0);
  for (std::uint32_t k = 0; k < depth; k += 2 * Atom::kDepth) {
    if (k + Atom::kDepth < depth) load(odd, k + Atom::kDepth);
    round(even, k);
    if (k + Atom::kDepth >= depth) break;
    if (k + 2 * Atom::kDepth < depth) load(even, k + 2 * Atom::kDepth);
    round(odd, k + Atom::kDepth);
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
