// A block's tile of members as its threads see it, and the words and bytes that they read and write there.
#pragma once

#include "backend/cuda/arguments.h"
#include "backend/cuda/vendor.h"
#include "exact/arithmetic.h"

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

  // A warp's member `i` of those from `first` on, which may be beyond the tile's.
  __device__ __forceinline__ std::uint32_t member(std::uint32_t first_of_warp, int i) const {
    return first_of_warp + static_cast<std::uint32_t>(i) * warps;
  }
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

}  // namespace clutch::cuda::CLUTCH_VENDOR
