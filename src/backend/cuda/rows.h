// Ops that go row by row: embeddings, norms, elements, rescaling, attention. A warp takes a row at a time.
#pragma once

#include "backend/cuda/tile.h"
#include "backend/cuda/warp.h"
#include "program/ops.h"
#include "program/program.h"

namespace clutch::cuda::CLUTCH_VENDOR {

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
        const std::uint32_t m = tile.member(first, i);
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
        const std::uint32_t m = tile.member(first, i);
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
      const std::uint32_t m = tile.member(first, i);
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
        const std::uint32_t m = tile.member(first, i);
        if (m < tile.count) gains[i] = load_vector(tile, t, m, n);
      }
#pragma unroll
      for (int i = 0; i < kPair; ++i) {
        const std::uint32_t m = tile.member(first, i);
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
        const std::uint32_t m = tile.member(first, i);
        if (t != nullptr && m < tile.count) vector[i] = load_vector(tile, *t, m, n);
      }
#pragma unroll
      for (int i = 0; i < kTogether; ++i) {
        const std::uint32_t m = tile.member(first, i);
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

}  // namespace clutch::cuda::CLUTCH_VENDOR
