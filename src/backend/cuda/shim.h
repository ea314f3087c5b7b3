// An emulation of what kernels rest on, to run them on the CPU in tests: a grid's blocks one after the other,
// a block's threads as fibers that take turns where they wait for each other. A thread that does not come to
// a barrier, or to an exchange of its warp, aborts the test; so does one that leaves its shared memory's
// guard changed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace clutch::cuda::shim {

struct Index {
  unsigned x = 0;
};
extern Index thread_index, block_index, block_size, grid_size;  // of the thread that runs

struct Grid {
  unsigned blocks, threads, warp, shared_bytes;
};
// Calls thread(argument) as every thread of the grid.
void run_grid(const Grid& grid, void (*thread)(const void*), const void* argument);

void block_barrier();
unsigned char* shared_memory();

// Every lane of a warp gives `bytes`, and sees those of all lanes, kExchangeBytes apart, until the next
// exchange.
constexpr std::size_t kExchangeBytes = 32;
const unsigned char* exchange(const void* mine, std::size_t bytes);

constexpr int kRuntimeVersion = 12;

// What tests turn.
struct Settings {
  std::uint64_t memory_bytes = std::uint64_t{1} << 32;  // of the device
  std::uint64_t shared_bytes = 227 << 10;               // of a block
  std::uint32_t evaluate_threads = 64;
  std::uint32_t processors = 1;  // each runs two blocks
  bool backwards = false;        // threads take their turns from the last to the first
  std::int64_t lost_after = -1;  // launches until the device is lost; -1: never
  int devices = 2;
  int driver = kRuntimeVersion;  // its version; 0: there is none
  int major = 8, minor = 0;      // of the devices' capability
  bool has_kernels = true;       // for them
};
extern Settings settings;
extern std::uint64_t allocated_bytes;

}  // namespace clutch::cuda::shim

// The runtime, by the names that vendors give to its functions.
using shimError_t = int;
enum : int {
  shimSuccess = 0,
  shimErrorMemoryAllocation = 2,
  shimErrorInsufficientDriver = 35,
  shimErrorNoDevice = 100,
  shimErrorNoKernels = 209,
  shimErrorLost = 700
};
enum shimCopy : int { shimMemcpyHostToDevice, shimMemcpyDeviceToHost };
enum shimAttribute : int { shimShared, shimProcessors, shimWarp };
enum : int { shimFuncAttributeMaxDynamicSharedMemorySize };
struct shimDeviceProp {
  char name[32];
  int major, minor;
};
struct shimFuncAttributes {};
shimError_t shimMalloc(void** memory, std::size_t bytes);
shimError_t shimFree(void* memory);
shimError_t shimMemGetInfo(std::size_t* free, std::size_t* total);
shimError_t shimMemcpy(void* to, const void* from, std::size_t bytes, shimCopy kind);
shimError_t shimMemset(void* to, int value, std::size_t bytes);
shimError_t shimGetDeviceCount(int* count);
shimError_t shimDriverGetVersion(int* version);
shimError_t shimRuntimeGetVersion(int* version);
shimError_t shimSetDevice(int index);
shimError_t shimGetDeviceProperties(shimDeviceProp* properties, int index);
shimError_t shimDeviceGetAttribute(int* value, shimAttribute attribute, int index);
shimError_t shimFuncGetAttributes(shimFuncAttributes* attributes, const void* kernel);
shimError_t shimFuncSetAttribute(const void* kernel, int attribute, int value);
shimError_t shimOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* kernel, int threads,
                                                          std::size_t shared);
shimError_t shimDeviceSynchronize();
shimError_t shimGetLastError();
const char* shimGetErrorString(shimError_t error);

// Keywords of kernels.
#define __device__
#define __global__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
