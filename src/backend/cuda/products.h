// Products of a tile: x·B first, then sums on the atoms (atoms.h), and what follows them in the same
// registers.
#pragma once

#include "backend/cuda/atoms.h"
#include "backend/cuda/tile.h"

namespace clutch::cuda::CLUTCH_VENDOR {

// x·B of every member and component, four threads to a row, each of which asks for four pieces of B at once.
__device__ __forceinline__ void project(const Tile& tile, const Step& s, const device::FlatTensor& t) {
  constexpr std::uint32_t kShare = 4, kPiece = 16 * kShare;
  const std::uint32_t rank = tile.a.model.rank, total = tile.a.tile.members * rank;
  const std::uint32_t share = tile.thread % kShare;
  for (std::uint32_t base = 0; base < total; base += tile.threads / kShare) {
    const std::uint32_t i = base + tile.thread / kShare, m = i / rank, j = i % rank;
    std::int32_t sum = 0;
    if (i < total) {
      const std::int8_t* x = tile.slot(m, s.in[0]) + 16 * share;
      const std::int8_t* b = tile.pair_noise(m) + t.noise_b + j * t.stride_b + 16 * share;
      for (std::uint32_t k = 0; k < t.stride_b; k += kTogether * kPiece) {
        Bytes16 right[kTogether] = {};
#pragma unroll
        for (std::uint32_t p = 0; p < kTogether; ++p)
          if (k + p * kPiece < t.stride_b) right[p] = load16(b + k + p * kPiece);
#pragma unroll
        for (std::uint32_t p = 0; p < kTogether; ++p) {
          if (k + p * kPiece >= t.stride_b) break;
          const Bytes16 left = load16(x + k + p * kPiece);
#pragma unroll
          for (int w = 0; w < 4; ++w) sum = dot4(left.words[w], right[p].words[w], sum);
        }
      }
    }
    for (int mask = 1; mask < static_cast<int>(kShare); mask *= 2) sum += shuffle_xor(sum, mask);
    if (i < total && share == 0) tile.projections[i] = sum;
  }
}

// The words of a run of A, of one component.
struct RunWords {
  std::uint32_t of[kRun / 4];
};
__device__ __forceinline__ RunWords load_run(const Tile& tile, const device::FlatTensor& t, std::uint32_t m,
                                             std::uint32_t n, std::uint32_t component) {
  const std::int8_t* a = tile.pair_noise(m) + t.noise_a + component * t.stride_a + n;
  RunWords words;
#pragma unroll
  for (int w = 0; w < kRun / 4; ++w) words.of[w] = load4(a + 4 * w);
  return words;
}

// Σ_j (x·B_j) · A_j of member m, the elements of a run that begins at n; `words` of component 0.
template <class Integer>
__device__ __forceinline__ void weigh_noise(const Tile& tile, const device::FlatTensor& t, std::uint32_t m,
                                            std::uint32_t n, RunWords words, Integer (&out)[kRun]) {
  const std::uint32_t rank = tile.a.model.rank;
#pragma unroll
  for (int i = 0; i < kRun; ++i) out[i] = 0;
  for (std::uint32_t j = 0; j < rank; ++j) {
    if (j > 0) words = load_run(tile, t, m, n, j);
    const Integer projection = tile.projections[m * rank + j];
#pragma unroll
    for (int i = 0; i < kRun; ++i) out[i] += projection * byte_of(words.of[i / 4], i % 4);
  }
#pragma unroll
  for (int i = 0; i < kRun; ++i) out[i] = perturbation(tile, m, out[i]);
}

// The sums of a run, perturbed, divided and clipped, into the slot. Beyond 128 divisors a quotient is clipped
// anyway, which bounds what is divided; +128 keeps it from being negative.
template <class Integer, int kRowTiles>
__device__ __forceinline__ void finish_run(const Tile& tile, const Step& s, const device::FlatTensor& t,
                                           const Sums<kRowTiles>& sums, int r, int row, std::uint32_t m,
                                           std::uint32_t n, const RunWords& words) {
  Integer noise[kRun] = {};
  if (tile.a.noisy) weigh_noise(tile, t, m, n, words, noise);
  const auto limit = static_cast<Integer>(128 * static_cast<Integer>(s.divisor));
#pragma unroll
  for (int w = 0; w < kRun; w += 4) {
    std::uint32_t word = 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      // verify() bounds the sum, and with it the perturbation, below 2^31.
      const std::int32_t sum = sum_at(sums, r, row, w + i) + static_cast<std::int32_t>(noise[w + i]);
      const auto u = static_cast<std::uint32_t>(exact::within(sum, static_cast<std::int32_t>(limit)) +
                                                static_cast<std::int32_t>(limit));
      const auto quotient = static_cast<int>(static_cast<std::uint64_t>(u) * s.multiplier >> s.shift) - 128;
      word |= place_byte(clip32(quotient), i);
    }
    store4(tile.slot(m, s.dst) + n + w, word);
  }
}

// The sums of row tiles from member `first` on, columns from n on; noise is asked for at once.
template <class Integer, int kRowTiles>
__device__ __forceinline__ void finish(const Tile& tile, const Step& s, const device::FlatTensor& t,
                                       const Sums<kRowTiles>& sums, int lane, std::uint32_t first,
                                       std::uint32_t n) {
  const auto member = [&](int r, int row) {
    return first + static_cast<std::uint32_t>(static_cast<int>(kRowTile) * r + Atom::sum_row(lane, row));
  };
  RunWords words[kRowTiles][Atom::kSumRows] = {};
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
    for (int row = 0; row < Atom::kSumRows; ++row)
      if (tile.a.noisy) words[r][row] = load_run(tile, t, member(r, row), n, 0);
  }
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) {
#pragma unroll
    for (int row = 0; row < Atom::kSumRows; ++row)
      finish_run<Integer>(tile, s, t, sums, r, row, member(r, row), n, words[r][row]);
  }
}

constexpr int kPartTiles = 2;  // row tiles that a group of threads multiplies at once, at most

// Groups of threads take parts of the tile's rows times groups of columns; neighbours the same columns, whose
// weights the first-level cache has for the second.
template <int kRowTiles>
__device__ __forceinline__ void run_matmul(const Tile& tile, const Step& s, const device::FlatTensor& t) {
  if (tile.a.noisy) {
    project(tile, s, t);
    __syncthreads();
  }
  constexpr std::uint32_t kParts = (kRowTiles + kPartTiles - 1) / kPartTiles;
  constexpr int kPart = kRowTiles / static_cast<int>(kParts);
  static_assert(kPart * kParts == kRowTiles, "parts are equal");
  const int lane = static_cast<int>(tile.thread) % Atom::kLanes;
  const std::uint32_t groups = tile.threads / Atom::kLanes;
  for (std::uint32_t i = tile.thread / Atom::kLanes; i / kParts * kGroupColumns < t.rows; i += groups) {
    const std::uint32_t n0 = i / kParts * kGroupColumns, first = i % kParts * kPart * kRowTile;
    Sums<kPart> sums;
    multiply<kPart>(sums, tile.slot(first, s.in[0]), tile.a.tile.pitch, t.stride,
                    tile.a.model.weights + t.weights, [&](int row) {
                      const std::uint32_t n = n0 + static_cast<std::uint32_t>(row);
                      return (n < t.rows ? n : t.rows - 1) * t.stride;  // below 4 GiB, see fits()
                    });
    const std::uint32_t n = n0 + static_cast<std::uint32_t>(Atom::sum_column(lane) * kTiles);
    if (s.narrow) {
      finish<std::int32_t>(tile, s, t, sums, lane, first, n);
    } else {
      finish<std::int64_t>(tile, s, t, sums, lane, first, n);
    }
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
