// The kernel that evaluates a whole window: a block owns a tile of members, whose slots lie in shared memory,
// and interprets the program for them token by token. docs/BACKENDS.md says why so, and what it costs.
#pragma once

#include "backend/cuda/atoms.h"
#include "backend/cuda/noise.h"
#include "backend/cuda/warp.h"
#include "exact/arithmetic.h"
#include "exact/loss.h"
#include "program/ops.h"
#include "program/program.h"

namespace clutch::cuda::CLUTCH_VENDOR {

// What a thread knows of its block's tile.
struct Tile {
  const EvaluateArguments& a;
  std::int8_t* slots;
  std::int32_t* projections;
  std::int32_t* weights;  // of attention, of this warp
  std::int64_t* losses;
  std::uint32_t *tokens, *positions;
  std::int8_t* noise;          // of the tile's first pair
  std::int8_t* states;         // of the tile's first member
  std::uint32_t first, count;  // members
  std::uint32_t thread, threads, lane, warp, warps;

  __device__ __forceinline__ std::int8_t* slot(std::uint32_t m, std::uint32_t place) const {
    return slots + m * a.tile.pitch + place;
  }
  __device__ __forceinline__ std::int8_t* pair_noise(std::uint32_t m) const {
    return noise + m / 2 * a.model.noise_bytes;
  }
  __device__ __forceinline__ std::int8_t* state(std::uint32_t m) const {
    return states + static_cast<std::uint64_t>(m) * a.model.state_bytes;
  }
};

__device__ __forceinline__ std::uint32_t load4(const std::int8_t* from) {
  return *reinterpret_cast<const std::uint32_t*>(from);
}
__device__ __forceinline__ void store4(std::int8_t* to, std::uint32_t word) {
  *reinterpret_cast<std::uint32_t*>(to) = word;
}
__device__ __forceinline__ int byte_of(std::uint32_t word, int i) {
  return static_cast<std::int8_t>(word >> (8 * i));
}
__device__ __forceinline__ std::uint32_t place_byte(int value, int i) {
  return static_cast<std::uint32_t>(value & 255) << (8 * i);
}
__device__ __forceinline__ int clip32(int x) { return exact::within(x, exact::kClip); }

// ± (product >> shift): the sign comes after the shift.
template <class Integer>
__device__ __forceinline__ Integer perturbation(const Tile& tile, std::uint32_t m, Integer product) {
  const Integer shifted = product >> tile.a.model.noise_shift;
  return m % 2 == 0 ? shifted : -shifted;
}

// Members of a warp whose words it asks the device's memory for before it works on the first: as long as
// that takes, it could do little else.
constexpr int kTogether = 4;

// Elements n .. n+3 of a vector and of the noise of a member's pair.
struct VectorWords {
  std::uint32_t w, a, b;
};
__device__ __forceinline__ VectorWords load_vector(const Tile& tile, const device::FlatTensor& t,
                                                   std::uint32_t m, std::uint32_t n) {
  VectorWords words{load4(tile.a.model.weights + t.weights + n), 0, 0};
  if (tile.a.noisy) {
    words.a = load4(tile.pair_noise(m) + t.noise_a + n);
    words.b = load4(tile.pair_noise(m) + t.noise_b + n);
  }
  return words;
}
// The member's own element `i` of them.
__device__ __forceinline__ int vector_element(const Tile& tile, std::uint32_t m, const VectorWords& words,
                                              int i) {
  return clip32(byte_of(words.w, i) + perturbation(tile, m, byte_of(words.a, i) * byte_of(words.b, i)));
}

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

__device__ __forceinline__ void run_embed(const Tile& tile, const Step& s, const device::FlatTensor& t) {
  const auto row = [&](std::uint32_t m) {
    return tile.a.model.weights + t.weights + static_cast<std::uint64_t>(tile.tokens[m]) * t.stride;
  };
  for (std::uint32_t first = tile.warp; first < tile.count; first += kTogether * tile.warps) {
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      std::uint32_t weights[kTogether];
      int products[kTogether][4] = {};
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (m >= tile.count) break;
        weights[i] = load4(row(m) + n);
        const std::int8_t* noise = tile.pair_noise(m);
        for (std::uint32_t j = 0; tile.a.noisy && j < tile.a.model.rank; ++j) {
          const int a = noise[t.noise_a + j * t.stride_a + tile.tokens[m]];
          const std::uint32_t b = load4(noise + t.noise_b + j * t.stride_b + n);
#pragma unroll
          for (int e = 0; e < 4; ++e) products[i][e] += a * byte_of(b, e);
        }
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (m >= tile.count) break;
        std::uint32_t word = 0;
#pragma unroll
        for (int e = 0; e < 4; ++e)
          word |= place_byte(clip32(byte_of(weights[i], e) + perturbation(tile, m, products[i][e])), e);
        store4(tile.slot(m, s.dst) + n, word);
      }
    }
  }
}

// With q in 0 .. 2^21 and divisor in 1 .. 2^9: floor(q / divisor) = q · reciprocal(divisor) >> 31, since what
// the reciprocal is too large by, below 2^9, times q stays below 2^31.
__device__ __forceinline__ std::uint32_t reciprocal(std::uint32_t divisor) {
  return ((std::uint32_t{1} << 31) + divisor - 1) / divisor;
}
__device__ __forceinline__ int divide_small(std::uint32_t q, std::uint32_t reciprocal_of) {
  return static_cast<int>(static_cast<std::uint64_t>(q) * reciprocal_of >> 31);
}

// Σ |x| of four bytes of at most 127.
__device__ __forceinline__ std::int32_t add_magnitudes(std::uint32_t x, std::int32_t sum) {
  const std::uint32_t negative = x >> 7 & 0x01010101;
  return dot4((x ^ negative * 255) + negative, 0x01010101, sum);
}

__device__ __forceinline__ int norm_quotient(const Step& s, int product, std::uint32_t mean,
                                             std::uint32_t by) {
  constexpr int kMost = exact::kClip * exact::kClip;
  if (s.truncates) {
    const int quotient = divide_small(static_cast<std::uint32_t>(product < 0 ? -product : product), by);
    return product < 0 ? -quotient : quotient;
  }
  // kMost · mean more, at most 2^21, is not negative
  return divide_small(static_cast<std::uint32_t>(product + kMost * static_cast<int>(mean)), by) - kMost;
}

__device__ __forceinline__ void run_norm(const Tile& tile, const Step& s, const device::FlatTensor& t) {
  constexpr int kPair = kTogether / 2;  // means and reciprocals take registers too
  for (std::uint32_t first = tile.warp; first < tile.count; first += kPair * tile.warps) {
    std::uint32_t mean[kPair], by[kPair];
#pragma unroll
    for (int i = 0; i < kPair; ++i) {
      const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
      std::int32_t magnitude = 0;
      for (std::uint32_t n = 4 * tile.lane; m < tile.count && n < s.width; n += 4 * kWarp) {
        std::uint32_t x = load4(tile.slot(m, s.in[0]) + n);
        if (s.width - n < 4) x &= ~std::uint32_t{0} >> (8 * (4 - (s.width - n)));
        magnitude = add_magnitudes(x, magnitude);
      }
      magnitude = warp_sum(magnitude) / static_cast<std::int32_t>(s.width);
      mean[i] = static_cast<std::uint32_t>(magnitude < 1 ? 1 : magnitude);
      by[i] = reciprocal(mean[i]);
    }
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      VectorWords gains[kPair];
#pragma unroll
      for (int i = 0; i < kPair; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (m < tile.count) gains[i] = load_vector(tile, t, m, n);
      }
#pragma unroll
      for (int i = 0; i < kPair; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (m >= tile.count) break;
        const std::uint32_t x = load4(tile.slot(m, s.in[0]) + n);
        std::uint32_t word = 0;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const int product = byte_of(x, e) * vector_element(tile, m, gains[i], e);
          word |= place_byte(clip32(norm_quotient(s, product, mean[i], by[i])), e);
        }
        store4(tile.slot(m, s.dst) + n, word);
      }
    }
  }
}

// Ops whose elements know nothing of each other.
template <Op kOp>
__device__ __forceinline__ int element(int x, int y, int z, int w, const std::int8_t* gelu) {
  if constexpr (kOp == Op::add) return clip32(x + y);
  if constexpr (kOp == Op::add_bias) return clip32(x + y + w);
  if constexpr (kOp == Op::gate) return ((x + 127) * y) >> 8;
  if constexpr (kOp == Op::mix) return y + (((x + 127) * (z - y)) >> 8);
  if constexpr (kOp == Op::relu) return x < 0 ? 0 : x;
  if constexpr (kOp == Op::bias) return clip32(x + w);
  if constexpr (kOp == Op::gelu) return gelu[x + 127];
}

template <Op kOp>
__device__ __forceinline__ void run_elements(const Tile& tile, const Step& s, const device::FlatTensor* t) {
  for (std::uint32_t first = tile.warp; first < tile.count; first += kTogether * tile.warps) {
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      VectorWords vector[kTogether] = {};
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (t != nullptr && m < tile.count) vector[i] = load_vector(tile, *t, m, n);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
        if (m >= tile.count) break;
        const std::uint32_t x = load4(tile.slot(m, s.in[0]) + n);
        const std::uint32_t y = s.in[1] == device::kNone ? 0 : load4(tile.slot(m, s.in[1]) + n);
        const std::uint32_t z = s.in[2] == device::kNone ? 0 : load4(tile.slot(m, s.in[2]) + n);
        std::uint32_t word = 0;
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          // Beyond a row's end lies what earlier slots left there, -128 perhaps in memory never written.
          const int at = byte_of(x, e) < -exact::kClip ? -exact::kClip : byte_of(x, e);
          const int w = t == nullptr ? 0 : vector_element(tile, m, vector[i], e);
          word |= place_byte(element<kOp>(at, byte_of(y, e), byte_of(z, e), w, tile.a.model.tables.gelu), e);
        }
        store4(tile.slot(m, s.dst) + n, word);
      }
    }
  }
}

// Elements n .. n+3 of what is rescaled: at most 2·127 in magnitude, a turned one's fraction dropped.
__device__ __forceinline__ void wide_elements(const Tile& tile, const Step& s, std::uint32_t m,
                                              std::uint32_t n, int (&out)[4]) {
  const std::uint32_t x = load4(tile.slot(m, s.in[0]) + n);
  const std::uint32_t y = s.in[1] == device::kNone ? 0 : load4(tile.slot(m, s.in[1]) + n);
#pragma unroll
  for (int i = 0; i < 4; ++i) out[i] = byte_of(x, i) + byte_of(y, i);
  if (static_cast<Op>(s.op) != Op::rotate) return;
  const exact::Turn* turns =
      tile.a.model.tables.turns + tile.positions[m] * exact::kTurnPairs + n % exact::kHeadWidth / 2;
#pragma unroll
  for (int i = 0; i < 4; i += 2) {
    const exact::Turn turn = turns[i / 2];
    const int even = out[i], odd = out[i + 1];  // products below 2^28, see verify()
    constexpr int kHalf = 1 << (exact::kTurnFractionBits - 1);
    out[i] = (even * turn.cosine - odd * turn.sine + kHalf) >> exact::kTurnFractionBits;
    out[i + 1] = (even * turn.sine + odd * turn.cosine + kHalf) >> exact::kTurnFractionBits;
  }
}

// floor((254·x + m) / 2m) = floor((254·x + 255·m) / 2m) - 127, whose numerator, at most 509·254, is not
// negative.
__device__ __forceinline__ void run_rescaled(const Tile& tile, const Step& s) {
  for (std::uint32_t m = tile.warp; m < tile.count; m += tile.warps) {
    int largest = 0, values[4];
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      wide_elements(tile, s, m, n, values);
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int size = values[i] < 0 ? -values[i] : values[i];
        if (n + static_cast<std::uint32_t>(i) < s.width && size > largest) largest = size;
      }
    }
    largest = warp_largest(largest);
    const std::uint32_t by = reciprocal(static_cast<std::uint32_t>(largest == 0 ? 1 : 2 * largest));
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      wide_elements(tile, s, m, n, values);
      std::uint32_t word = 0;
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const auto u =
            static_cast<std::uint32_t>(2 * exact::kClip * values[i] + (2 * exact::kClip + 1) * largest);
        word |= place_byte(largest == 0 ? 0 : divide_small(u, by) - exact::kClip, i);
      }
      store4(tile.slot(m, s.dst) + n, word);
    }
  }
}

// A head's query against the keys and values of its window so far; rows of the caches are `width` apart.
__device__ __forceinline__ void attend_head(const Tile& tile, const Step& s, std::uint32_t m,
                                            std::uint32_t head) {
  const std::int8_t* query = tile.slot(m, s.in[0]) + head;
  const std::int8_t* keys = tile.state(m) + s.keys + head;
  const std::int8_t* values = tile.state(m) + s.values + head;
  const std::uint32_t positions = tile.positions[m] + 1;
  int largest = -(1 << 30);
  for (std::uint32_t p = tile.lane; p < positions; p += kWarp) {
    std::int32_t score = 0;
#pragma unroll
    for (int k = 0; k < exact::kHeadWidth; k += 16) {
      const Bytes16 q = load16(query + k), key = load16(keys + p * s.width + k);
#pragma unroll
      for (int w = 0; w < 4; ++w) score = dot4(q.words[w], key.words[w], score);
    }
    score >>= exact::kScoreShift;
    tile.weights[p] = score;
    largest = score > largest ? score : largest;
  }
  largest = warp_largest(largest);
  std::uint32_t total = 0;
  for (std::uint32_t p = tile.lane; p < positions; p += kWarp) {
    const auto away = static_cast<std::uint32_t>(largest - tile.weights[p]);
    const std::uint32_t weight = away < 256 ? tile.a.model.tables.softmax[away] : 0;
    tile.weights[p] = static_cast<std::int32_t>(weight);
    total += weight;
  }
  total = warp_sum(total);
  meet_warp();
  for (std::uint32_t n = tile.lane; n < exact::kHeadWidth; n += kWarp) {
    std::int64_t sum = 0;
    for (std::uint32_t p = 0; p < positions; ++p)
      sum += std::int64_t{tile.weights[p]} * values[p * s.width + n];
    tile.slot(m, s.dst)[head + n] = static_cast<std::int8_t>(exact::divide_floor(sum, total));
  }
  meet_warp();
}

// The key and the value enter the caches first: a token sees itself.
__device__ __forceinline__ void run_attend(const Tile& tile, const Step& s) {
  for (std::uint32_t m = tile.warp; m < tile.count; m += tile.warps) {
    std::int8_t* at = tile.state(m) + tile.positions[m] * s.width;
    for (std::uint32_t n = 4 * tile.lane; n < s.width; n += 4 * kWarp) {
      store4(at + s.keys + n, load4(tile.slot(m, s.in[1]) + n));
      store4(at + s.values + n, load4(tile.slot(m, s.in[2]) + n));
    }
  }
  __syncthreads();
  const std::uint32_t heads = s.width / exact::kHeadWidth;
  for (std::uint32_t i = tile.warp; i < tile.count * heads; i += tile.warps)
    attend_head(tile, s, i / heads, i % heads * exact::kHeadWidth);
}

template <int kRowTiles>
__device__ __forceinline__ void run_step(const Tile& tile, const Step& s) {
  const device::FlatTensor* t = s.tensor == device::kNone ? nullptr : tile.a.model.tensors + s.tensor;
  switch (static_cast<Op>(s.op)) {
    case Op::embed:
      return run_embed(tile, s, *t);
    case Op::matmul:
      return run_matmul<kRowTiles>(tile, s, *t);
    case Op::norm:
      return run_norm(tile, s, *t);
    case Op::rescale:
    case Op::add_rescale:
    case Op::rotate:
      return run_rescaled(tile, s);
    case Op::attend:
      return run_attend(tile, s);
    case Op::add:
      return run_elements<Op::add>(tile, s, nullptr);
    case Op::add_bias:
      return run_elements<Op::add_bias>(tile, s, t);
    case Op::gate:
      return run_elements<Op::gate>(tile, s, nullptr);
    case Op::mix:
      return run_elements<Op::mix>(tile, s, nullptr);
    case Op::relu:
      return run_elements<Op::relu>(tile, s, nullptr);
    case Op::bias:
      return run_elements<Op::bias>(tile, s, t);
    case Op::gelu:
      return run_elements<Op::gelu>(tile, s, nullptr);
  }
}

// Zero states, slots and losses, and the pairs' noise, for every row of the tile whether a member has it or
// not.
__device__ __forceinline__ void begin_tile(const Tile& tile) {
  const EvaluateArguments& a = tile.a;
  for (std::uint32_t i = 4 * tile.thread; i < a.tile.members * a.tile.pitch; i += 4 * tile.threads)
    store4(tile.slots + i, 0);
  for (std::uint32_t m = tile.thread; m < tile.count; m += tile.threads) {
    tile.losses[m] = 0;
    if (a.keeps_states) continue;
    for (std::uint32_t i = 0; i < a.model.first_move[a.model.step_count + 2]; ++i) {
      const Move& move = a.model.moves[i];
      for (std::uint32_t n = 0; n < move.width; n += 4) store4(tile.state(m) + move.state + n, 0);
    }
    if (a.model.window > 0) write_count(0, tile.state(m) + a.model.count);
  }
  if (!a.noisy) return;
  for (std::uint32_t i = 0; i < a.model.tensor_count; ++i)
    fill_noise(a.model, a.seed, i, a.seed.first_pair + tile.first / 2, a.tile.members / 2, tile.noise,
               tile.thread, tile.threads);
}

__device__ __forceinline__ const std::uint16_t* text_of(const Tile& tile, std::uint32_t m) {
  return tile.a.text + static_cast<std::uint64_t>(tile.a.stream_of[tile.first + m]) * (tile.a.length + 1);
}

// Tokens and positions.
__device__ __forceinline__ void begin_token(const Tile& tile, std::uint32_t time) {
  const Model& model = tile.a.model;
  for (std::uint32_t m = tile.thread; m < tile.count; m += tile.threads) {
    const std::uint16_t token = text_of(tile, m)[time];
    tile.tokens[m] = token;
    if (model.window == 0) continue;
    std::int8_t* count = tile.state(m) + model.count;
    const std::int64_t position = next_position(read_count(count, model.window), token, model.window);
    tile.positions[m] = static_cast<std::uint32_t>(position);
    write_count(position + 1, count);
  }
}

// States whose moment it is, into the slots they are read from, zeros where a document starts, or from those
// they are written to. The layout sees to it that what the moment's instruction does touches none of that but
// to read it, so that it takes no barrier of its own.
__device__ __forceinline__ void move_states(const Tile& tile, std::uint32_t moment) {
  const Model& model = tile.a.model;
  for (std::uint32_t at = model.first_move[moment]; at < model.first_move[moment + 1]; ++at) {
    const Move move = model.moves[at];
    for (std::uint32_t first = tile.warp; first < tile.count; first += kTogether * tile.warps) {
      for (std::uint32_t n = 4 * tile.lane; n < move.width; n += 4 * kWarp) {
        std::uint32_t words[kTogether] = {};
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
          if (m >= tile.count) break;
          if (move.stores) {
            words[i] = load4(tile.slot(m, move.slot) + n);
          } else if (tile.tokens[m] != 0) {
            words[i] = load4(tile.state(m) + move.state + n);
          }
        }
#pragma unroll
        for (int i = 0; i < kTogether; ++i) {
          const std::uint32_t m = first + static_cast<std::uint32_t>(i) * tile.warps;
          if (m >= tile.count) break;
          store4(move.stores ? tile.state(m) + move.state + n : tile.slot(m, move.slot) + n, words[i]);
        }
      }
    }
  }
}

__device__ __forceinline__ void end_token(const Tile& tile, std::uint32_t time) {
  const EvaluateArguments& a = tile.a;
  const Model& model = a.model;
  for (std::uint32_t m = tile.warp; m < tile.count; m += tile.warps) {
    const std::int8_t* logits = tile.slot(m, model.output);
    int largest = -exact::kClip;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp)
      largest = logits[n] > largest ? logits[n] : largest;
    largest = warp_largest(largest);
    std::uint64_t sum = 0;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp)
      sum += exact::exp2_negative(model.tables.exp2, static_cast<std::uint32_t>(largest - logits[n]));
    sum = warp_sum(sum);
    if (tile.lane == 0)
      tile.losses[m] +=
          exact::loss_from_sum(model.tables.log2, sum, largest - logits[text_of(tile, m)[time + 1]]);
    if (a.logits == nullptr) continue;
    std::int8_t* out =
        a.logits + (static_cast<std::uint64_t>(tile.first + m) * a.length + time) * model.vocab;
    for (std::uint32_t n = tile.lane; n < model.vocab; n += kWarp) out[n] = logits[n];
  }
}

__device__ __forceinline__ void keep_trace(const Tile& tile, const Step& s, std::uint32_t time) {
  const std::int8_t* from = tile.slot(tile.a.traced, s.dst);
  std::int8_t* to = tile.a.trace + static_cast<std::uint64_t>(time) * tile.a.model.trace_bytes + s.trace;
  for (std::uint32_t n = tile.thread; n < s.width; n += tile.threads) to[n] = from[n];
}

template <std::uint32_t kRowTiles>
__global__ void __launch_bounds__(kEvaluateThreads)
    evaluate_window(const __grid_constant__ EvaluateArguments a) {
  unsigned char* shared = shared_memory();
  const std::uint32_t thread = threadIdx.x, warp = thread / kWarp;
  Tile tile{.a = a,
            .slots = reinterpret_cast<std::int8_t*>(shared),
            .projections = reinterpret_cast<std::int32_t*>(shared + a.tile.projections),
            .weights = reinterpret_cast<std::int32_t*>(shared + a.tile.weights) + warp * a.model.window,
            .losses = reinterpret_cast<std::int64_t*>(shared + a.tile.losses),
            .tokens = reinterpret_cast<std::uint32_t*>(shared + a.tile.tokens),
            .positions = reinterpret_cast<std::uint32_t*>(shared + a.tile.positions),
            .noise = a.noise + std::uint64_t{blockIdx.x} * (a.tile.members / 2) * a.model.noise_bytes,
            .states = nullptr,
            .first = 0,
            .count = 0,
            .thread = thread,
            .threads = blockDim.x,
            .lane = thread % kWarp,
            .warp = warp,
            .warps = blockDim.x / kWarp};
  for (std::uint64_t first = std::uint64_t{blockIdx.x} * a.tile.members; first < a.members;
       first += std::uint64_t{gridDim.x} * a.tile.members) {
    tile.first = static_cast<std::uint32_t>(first);
    tile.count = a.members - tile.first < a.tile.members ? a.members - tile.first : a.tile.members;
    tile.states = a.states +
                  (a.keeps_states ? first : std::uint64_t{blockIdx.x} * a.tile.members) * a.model.state_bytes;
    begin_tile(tile);
    __syncthreads();
    for (std::uint32_t time = 0; time < a.length; ++time) {
      begin_token(tile, time);
      __syncthreads();
      move_states(tile, 0);
      __syncthreads();
      for (std::uint32_t i = 0; i < a.model.step_count; ++i) {
        move_states(tile, 1 + i);
        run_step<kRowTiles>(tile, a.model.steps[i]);
        __syncthreads();
        if (a.trace == nullptr) continue;
        keep_trace(tile, a.model.steps[i], time);
        __syncthreads();
      }
      end_token(tile, time);
      move_states(tile, 1 + a.model.step_count);
      __syncthreads();
    }
    for (std::uint32_t m = thread; m < tile.count; m += tile.threads) a.losses[first + m] = tile.losses[m];
    __syncthreads();
  }
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
