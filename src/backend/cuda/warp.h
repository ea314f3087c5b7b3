// Sums and largest values over the threads of a warp, however many a vendor's has.
#pragma once

#include "backend/cuda/vendor.h"

namespace clutch::cuda::CLUTCH_VENDOR {

template <class T>
__device__ __forceinline__ T warp_sum(T value) {
  for (int mask = 1; mask < kWarp; mask *= 2) value += shuffle_xor(value, mask);
  return value;
}
__device__ __forceinline__ int warp_largest(int value) {
  for (int mask = 1; mask < kWarp; mask *= 2) {
    const int other = shuffle_xor(value, mask);
    value = other > value ? other : value;
  }
  return value;
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
