// What differs between vendors, and between them and the emulation on the CPU (shim.h): names of the runtime,
// shuffles, and the instructions that multiply. Everything else in this folder is one source. The build names
// the vendor's namespace in CLUTCH_VENDOR.
#pragma once

#include <cstdint>
#include <string>

#if defined(CLUTCH_SHIM_WARP)
#include "backend/cuda/shim.h"
#elif defined(__HIP__)
#include <hip/hip_runtime.h>
#define VENDOR(name) hip##name
#define __grid_constant__
#else
#include <cuda_runtime.h>
#define VENDOR(name) cuda##name
#endif

namespace clutch::cuda::CLUTCH_VENDOR {

#if !defined(CLUTCH_SHIM_WARP)
using Error = VENDOR(Error_t);
constexpr std::uint32_t evaluate_threads(int most) { return static_cast<std::uint32_t>(most); }
__device__ __forceinline__ unsigned char* shared_memory() {
  extern __shared__ uint4 shared_bytes[];
  return reinterpret_cast<unsigned char*>(shared_bytes);
}
template <class Arguments>
void launch(void (*kernel)(Arguments), unsigned blocks, unsigned threads, unsigned shared,
            const Arguments& arguments) {
  kernel<<<blocks, threads, shared>>>(arguments);
}
#endif

// The matrix instructions, of which each vendor defines its own.
__device__ void multiply_16x8x32(std::int32_t (&sums)[4], const std::uint32_t (&a)[4],
                                 const std::uint32_t (&b)[2]);
__device__ void multiply_16x16x16(std::int32_t (&sums)[4], std::uint32_t a, std::uint32_t b);

// Products on a warp's matrix instruction, or by each thread for itself.
enum class Matrix { kNone, k16x8x32, k16x16x16 };

// Σ a[i]·b[i] of four bytes, where no instruction does it.
constexpr std::int32_t plain_dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
  for (int i = 0; i < 32; i += 8) sum += static_cast<std::int8_t>(a >> i) * static_cast<std::int8_t>(b >> i);
  return sum;
}

#if defined(CLUTCH_SHIM_WARP)
#include "backend/cuda/shim_vendor.h"
#elif defined(__HIP__)
using Properties = hipDeviceProp_t;
constexpr auto kFamily = "hip", kMaker = "AMD", kSummary = "a GPU: never run on hardware yet",
               kNeeds = "this build has kernels for others alone";
inline bool too_old(const Properties&) { return false; }  // which is told by there being no kernels
inline std::string model_of(const Properties& p) { return p.gcnArchName; }
inline std::string version_text(int version) { return "HIP " + std::to_string(version); }
constexpr auto kSharedAttribute = hipDeviceAttributeMaxSharedMemoryPerBlock;
constexpr auto kProcessorsAttribute = hipDeviceAttributeMultiprocessorCount;
constexpr std::uint32_t kMostRowTiles = 2;  // 64 KiB of shared memory hold no more; 4 would spill registers
constexpr int kEvaluateThreads = 256;
constexpr auto kWarpAttribute = hipDeviceAttributeWarpSize;
#if defined(__AMDGCN_WAVEFRONT_SIZE)
constexpr int kWarp = __AMDGCN_WAVEFRONT_SIZE;
#else
constexpr int kWarp = 64;  // the host's view of the code; hosts ask the device
#endif
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor(value, mask);
}
// A wavefront's accesses to its block's memory are done in order; only the compiler could move them.
__device__ __forceinline__ void meet_warp() {
  __builtin_amdgcn_fence(__ATOMIC_ACQ_REL, "wavefront");
  __builtin_amdgcn_wave_barrier();
}
#if defined(__gfx90a__) || defined(__gfx908__)
constexpr Matrix kMatrix = Matrix::k16x16x16;
#else
constexpr Matrix kMatrix = Matrix::kNone;
#endif
// sums [4] += of 16 rows of a and 16 columns of b, four elements of K each (v_mfma_i32_16x16x16i8).
__device__ __forceinline__ void multiply_16x16x16(std::int32_t (&sums)[4], std::uint32_t a, std::uint32_t b) {
#if defined(__gfx90a__) || defined(__gfx908__)
  using Four = __attribute__((ext_vector_type(4))) int;
  const Four d = __builtin_amdgcn_mfma_i32_16x16x16i8(static_cast<int>(a), static_cast<int>(b),
                                                      Four{sums[0], sums[1], sums[2], sums[3]}, 0, 0, 0);
  for (int i = 0; i < 4; ++i) sums[i] = d[i];
#endif
}
__device__ __forceinline__ std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
#if defined(__gfx906__) || defined(__gfx908__) || defined(__gfx90a__) || defined(__gfx1030__)
  return __builtin_amdgcn_sdot4(static_cast<int>(a), static_cast<int>(b), sum, false);
#else
  return plain_dot4(a, b, sum);
#endif
}
#else
using Properties = cudaDeviceProp;
constexpr auto kFamily = "cuda", kMaker = "NVIDIA", kSummary = "a GPU",
               kNeeds = "compute capability 8.0 or later is needed";
inline bool too_old(const Properties& p) { return p.major < 8; }
inline std::string model_of(const Properties& p) {
  return "compute capability " + std::to_string(p.major) + "." + std::to_string(p.minor);
}
inline std::string version_text(int version) {
  return "CUDA " + std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}
constexpr auto kSharedAttribute = cudaDevAttrMaxSharedMemoryPerBlockOptin;
constexpr auto kProcessorsAttribute = cudaDevAttrMultiProcessorCount;
constexpr std::uint32_t kMostRowTiles = 8;
// 16 warps of 128 registers each, of which the sums of two row tiles take 32.
constexpr int kEvaluateThreads = 512;
constexpr auto kWarpAttribute = cudaDevAttrWarpSize;
constexpr int kWarp = 32;
template <class T>
__device__ __forceinline__ T shuffle_xor(T value, int mask) {
  return __shfl_xor_sync(0xFFFFFFFF, value, mask);
}
constexpr Matrix kMatrix = Matrix::k16x8x32;
// What the warp's threads wrote before, they all see after.
__device__ __forceinline__ void meet_warp() { __syncwarp(); }
// sums [4] += of 16 rows of a and 8 columns of b, 32 elements of K.
__device__ __forceinline__ void multiply_16x8x32(std::int32_t (&sums)[4], const std::uint32_t (&a)[4],
                                                 const std::uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(sums[0]), "+r"(sums[1]), "+r"(sums[2]), "+r"(sums[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
__device__ __forceinline__ std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) {
  return __dp4a(static_cast<int>(a), static_cast<int>(b), sum);
}
#endif

}  // namespace clutch::cuda::CLUTCH_VENDOR
