// The kernels of an update: votes as products over pairs, with the noise of both sides made where it is used,
// and the rule. Three launches and a clear, whatever the sizes.
#pragma once

#include "backend/cuda/atoms.h"
#include "backend/cuda/noise.h"
#include "backend/cuda/warp.h"
#include "exact/digest.h"
#include "exact/rules.h"

namespace clutch::cuda::CLUTCH_VENDOR {

constexpr int kUpdateThreads = 256;
constexpr int kVoteRowTiles = 4;  // of a group of threads: half of a tile's rows
constexpr std::uint32_t kHalfTile = kVoteRowTiles * kRowTile;
constexpr std::uint32_t kVoteShared = 2 * kVoteTile * kVoteTerms;

// f·A in int8: as it is where |f| <= 2; else v = 128·high + low, low in [-64, 63] and |high| <= 47.
__device__ __forceinline__ int split_vote(int v, bool high) {
  const int low = ((v + 64) & 127) - 64;
  return high ? (v - low) >> 7 : low;
}

// Eight rows of one side of a tile for one term, a byte to each row: threads that lie side by side take terms
// that do.
__device__ __forceinline__ void fill_strip(const UpdateArguments& a, const VoteTile& tile,
                                           std::uint32_t strip, std::uint32_t term, std::uint32_t terms,
                                           std::int8_t* out) {
  constexpr std::uint32_t kStrips = kVoteTile / exact::kNoisePerBlock;
  const device::FlatTensor& t = a.model.tensors[tile.tensor];
  const bool left = strip < kStrips, high = a.wide && left && strip >= kStrips / 2;
  const std::uint32_t place = strip % (left && a.wide ? kStrips / 2 : kStrips) * exact::kNoisePerBlock;
  const std::uint32_t first = (left ? tile.row : tile.column) + place;
  if (first >= (left ? t.rows : t.cols)) return;  // what is there is never added to a vote
  std::int8_t values[exact::kNoisePerBlock] = {};
  if (term < terms) {
    const std::uint32_t pair = term / a.model.rank, component = term % a.model.rank;
    const exact::PhiloxBlock block = exact::noise_block(
        noise_key(a.seed, pair, tile.tensor, component, left ? exact::NoiseRole::kA : exact::NoiseRole::kB),
        first / exact::kNoisePerBlock);
    const int f = left ? a.fitness[pair] : 1;
#pragma unroll
    for (int i = 0; i < exact::kNoisePerBlock; ++i) {
      const int v = f * noise_value(block, i);
      values[i] = static_cast<std::int8_t>(left && a.wide ? split_vote(v, high) : v);
    }
  }
#pragma unroll
  for (std::uint32_t i = 0; i < exact::kNoisePerBlock; ++i)
    out[(strip * exact::kNoisePerBlock + i) * kVoteTerms + term % kVoteTerms] = values[i];
}

// Votes of matrices. A block makes 256 values of noise for each term, some 16 instructions each, and
// multiplies 128 by 128: on an H100 32 cycles beside 4. So noise is what an update costs; larger tiles would
// make it fewer times, and a D x D matrix of 256 has its noise made twice.
__global__ void __launch_bounds__(kUpdateThreads) vote_matrices(const __grid_constant__ UpdateArguments a) {
  static_assert(kUpdateThreads == Atom::kLanes * (kVoteTile / kHalfTile) * (kVoteTile / kGroupColumns));
  auto* left = reinterpret_cast<std::int8_t*>(shared_memory());
  std::int8_t* right = left + kVoteTile * kVoteTerms;
  const VoteTile tile = a.matrices[blockIdx.x / a.matrix_splits];
  const std::uint32_t terms = a.pairs * a.model.rank, thread = threadIdx.x;
  const int lane = static_cast<int>(thread) % Atom::kLanes;
  const std::uint32_t group = thread / Atom::kLanes, half = group % 2, columns = group / 2 * kGroupColumns;
  const device::FlatTensor& t = a.model.tensors[tile.tensor];
  const std::uint32_t n0 = tile.row + (a.wide ? 0 : half * kHalfTile), k0 = tile.column + columns;
  const bool used = n0 < t.rows && k0 < t.cols;  // the same for all threads of a group
  Sums<kVoteRowTiles> sums;
  for (std::uint32_t begin = blockIdx.x % a.matrix_splits * kVoteTerms; begin < terms;
       begin += a.matrix_splits * kVoteTerms) {
    for (std::uint32_t i = thread; i < 2 * kVoteTile / exact::kNoisePerBlock * kVoteTerms;
         i += kUpdateThreads)
      fill_strip(a, tile, i / kVoteTerms, begin + i % kVoteTerms, terms, left);
    __syncthreads();
    if (used) {
      multiply<kVoteRowTiles>(
          sums, left + half * kHalfTile * kVoteTerms, kVoteTerms, kVoteTerms, right,
          [&](int row) { return (columns + static_cast<std::uint32_t>(row)) * kVoteTerms; });
    }
    __syncthreads();
  }
  const std::uint32_t scale = a.wide && half == 1 ? 128 : 1;
  std::uint32_t* votes = a.votes + a.elements[tile.tensor];
#pragma unroll
  for (int r = 0; r < kVoteRowTiles; ++r) {
#pragma unroll
    for (int row = 0; row < Atom::kSumRows; ++row) {
      const std::uint32_t n =
          n0 + static_cast<std::uint32_t>(static_cast<int>(kRowTile) * r + Atom::sum_row(lane, row));
#pragma unroll
      for (int c = 0; c < kRun; ++c) {
        const std::uint32_t k = k0 + static_cast<std::uint32_t>(Atom::sum_column(lane) * kTiles + c);
        if (n < t.rows && k < t.cols)
          atomicAdd(votes + std::uint64_t{n} * t.cols + k,
                    scale * static_cast<std::uint32_t>(sum_at(sums, r, row, c)));
      }
    }
  }
}

// Votes of vectors, eight elements to a block: no product, so that a thread takes a pair at a time.
__global__ void __launch_bounds__(kUpdateThreads) vote_vectors(const __grid_constant__ UpdateArguments a) {
  const VoteTile tile = a.vectors[blockIdx.x / a.vector_splits];
  std::int32_t sums[exact::kNoisePerBlock] = {};
  for (std::uint32_t pair = blockIdx.x % a.vector_splits * kUpdateThreads + threadIdx.x; pair < a.pairs;
       pair += a.vector_splits * kUpdateThreads) {
    const exact::NoiseKey key = noise_key(a.seed, pair, tile.tensor, 0, exact::NoiseRole::kA);
    const exact::NoiseKey other = noise_key(a.seed, pair, tile.tensor, 0, exact::NoiseRole::kB);
    const exact::PhiloxBlock left = exact::noise_block(key, tile.row / exact::kNoisePerBlock);
    const exact::PhiloxBlock right = exact::noise_block(other, tile.row / exact::kNoisePerBlock);
#pragma unroll
    for (int i = 0; i < exact::kNoisePerBlock; ++i)
      sums[i] += a.fitness[pair] * noise_value(left, i) * noise_value(right, i);
  }
#pragma unroll
  for (std::uint32_t i = 0; i < exact::kNoisePerBlock; ++i) {
    const auto sum = static_cast<std::uint32_t>(warp_sum(sums[i]));
    if (threadIdx.x % kWarp == 0 && tile.row + i < a.model.tensors[tile.tensor].rows)
      atomicAdd(a.votes + a.elements[tile.tensor] + tile.row + i, sum);
  }
}

// The rule on eight weights in a row, which are a word of the digest.
__device__ __forceinline__ void apply_word(const UpdateArguments& a, std::uint32_t tensor,
                                           std::uint32_t index, unsigned long long& moved,
                                           unsigned long long& digest) {
  const device::FlatTensor& t = a.model.tensors[tensor];
  const exact::RuleStep& step = t.is_vector ? a.vector : a.matrix;
  const std::uint32_t size = t.rows * t.cols;  // at most 2^31
  std::uint64_t word = 0;
  for (std::uint32_t e = 0; e < 8 && index * 8 + e < size; ++e) {
    const std::uint32_t i = index * 8 + e;
    const std::uint64_t element = a.elements[tensor] + i;
    const std::uint32_t place = t.is_vector ? i : i / t.cols * t.stride + i % t.cols;
    std::int8_t* weight = a.model.weights + t.weights + place;
    std::int32_t state[exact::kMaxRuleStates] = {};
#pragma unroll
    for (std::uint32_t s = 0; s < exact::kMaxRuleStates; ++s) {
      if (s < a.state_count) state[s] = a.states[s][element];
    }
    const int before = *weight;
    const int after =
        exact::apply_rule(step.rule, step, static_cast<std::int32_t>(a.votes[element]), state, before);
#pragma unroll
    for (std::uint32_t s = 0; s < exact::kMaxRuleStates; ++s) {
      if (s < a.state_count) a.states[s][element] = state[s];
    }
    *weight = static_cast<std::int8_t>(after);
    moved += after != before;
    word |= std::uint64_t{static_cast<std::uint8_t>(after)} << (8 * e);
  }
  digest += exact::digest_term(tensor, index, word);
}

__global__ void __launch_bounds__(kUpdateThreads) apply_rule(const __grid_constant__ UpdateArguments a) {
  const WordRange range = a.words[blockIdx.x];
  unsigned long long moved = 0, digest = 0;
  for (std::uint32_t i = threadIdx.x; i < range.count; i += kUpdateThreads)
    apply_word(a, range.tensor, range.first + i, moved, digest);
  moved = warp_sum(moved);
  digest = warp_sum(digest);
  if (threadIdx.x % kWarp == 0) {
    atomicAdd(&a.results->moved, moved);
    atomicAdd(&a.results->digest, digest);
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
