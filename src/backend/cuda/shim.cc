#include "backend/cuda/shim.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/check.h"

#if defined(__x86_64__)
// Leaves one stack for another: pushes what a function must keep, and pops what the other's kept. A tenth of
// swapcontext(), which asks the kernel about signals each time.
asm(R"(
.text
.globl clutch_shim_switch
.type clutch_shim_switch, @function
clutch_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size clutch_shim_switch, .-clutch_shim_switch
)");
extern "C" void clutch_shim_switch(void** save, void* load);
#endif

namespace clutch::cuda::shim {

Index thread_index, block_index, block_size, grid_size;
Settings settings;
std::uint64_t allocated_bytes = 0;

namespace {

constexpr std::size_t kStackBytes = 256 << 10;
constexpr unsigned kGuardBytes = 64;
constexpr unsigned char kGuard = 0xA5;

void fiber_main();

// A place to run, given up and taken up again.
#if defined(__x86_64__)
struct Place {
  void* stack_pointer = nullptr;
  void prepare(char* stack) {
    auto* top = reinterpret_cast<void**>(stack + kStackBytes);
    *--top = nullptr;  // where fiber_main would return to; keeps its stack aligned as after a call
    *--top = reinterpret_cast<void*>(&fiber_main);
    for (int i = 0; i < 6; ++i) *--top = nullptr;
    stack_pointer = top;
  }
  static void change(Place& from, Place& to) { clutch_shim_switch(&from.stack_pointer, to.stack_pointer); }
};
#else
struct Place {
  ucontext_t context{};
  void prepare(char* stack) {
    getcontext(&context);
    context.uc_stack.ss_sp = stack;
    context.uc_stack.ss_size = kStackBytes;
    makecontext(&context, &fiber_main, 0);
  }
  static void change(Place& from, Place& to) { swapcontext(&from.context, &to.context); }
};
#endif

enum class Waits { kNot, kBlock, kWarp, kDone };

struct Fiber {
  Place place;
  Waits waits = Waits::kNot;
  unsigned exchanges = 0;
};

// The block that runs.
struct Block {
  std::vector<Fiber> fibers;
  std::vector<unsigned char> exchanged;  // [2][threads] of kExchangeBytes: one exchange may begin before all
                                         // have left the one before
  unsigned warp = 0, running = 0;
  void (*thread)(const void*) = nullptr;
  const void* argument = nullptr;
  Place scheduler;
  std::unique_ptr<unsigned char[]> shared;  // exactly as large, so that a sanitizer sees what leaves it
} block;

char* stack_of(unsigned fiber) {
  static std::vector<char*> stacks;
  while (stacks.size() <= fiber) {
    void* memory = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    check(memory != MAP_FAILED, "memory for a fiber's stack");
    stacks.push_back(static_cast<char*>(memory));
  }
  return stacks[fiber];
}

void wait(Waits what) {
  Fiber& fiber = block.fibers[block.running];
  fiber.waits = what;
  Place::change(fiber.place, block.scheduler);
}

void fiber_main() {
  block.thread(block.argument);
  wait(Waits::kDone);
}

// Lets those of [begin, end) go on that all wait for `what`.
bool release(unsigned begin, unsigned end, Waits what) {
  for (unsigned i = begin; i < end; ++i) {
    if (block.fibers[i].waits != what) return false;
  }
  for (unsigned i = begin; i < end; ++i) block.fibers[i].waits = Waits::kNot;
  return true;
}

void run_block() {
  const auto threads = static_cast<unsigned>(block.fibers.size());
  for (;;) {
    bool moved = false;
    for (unsigned i = 0; i < threads; ++i) {
      const unsigned turn = settings.backwards ? threads - 1 - i : i;
      if (block.fibers[turn].waits != Waits::kNot) continue;
      moved = true;
      block.running = turn;
      thread_index.x = turn;
      Place::change(block.scheduler, block.fibers[turn].place);
    }
    for (unsigned w = 0; w < threads; w += block.warp)
      moved |= release(w, std::min(threads, w + block.warp), Waits::kWarp);
    if (moved) continue;
    const bool done = std::all_of(block.fibers.begin(), block.fibers.end(),
                                  [](const Fiber& f) { return f.waits == Waits::kDone; });
    if (done) return;
    check(release(0, threads, Waits::kBlock), "all threads of a block come to the same barrier or exchange");
  }
}

}  // namespace

void run_grid(const Grid& grid, void (*thread)(const void*), const void* argument) {
  block.warp = grid.warp;
  block.thread = thread;
  block.argument = argument;
  block.exchanged.assign(2 * grid.threads * kExchangeBytes, 0);
  grid_size.x = grid.blocks;
  block_size.x = grid.threads;
  for (unsigned b = 0; b < grid.blocks; ++b) {
    block_index.x = b;
    block.shared.reset(new unsigned char[grid.shared_bytes + kGuardBytes]);
    std::memset(block.shared.get(), 0x5A, grid.shared_bytes);  // a device does not clear it either
    std::memset(block.shared.get() + grid.shared_bytes, kGuard, kGuardBytes);
    block.fibers.assign(grid.threads, {});
    for (unsigned i = 0; i < grid.threads; ++i) block.fibers[i].place.prepare(stack_of(i));
    run_block();
    for (unsigned i = 0; i < kGuardBytes; ++i)
      check_equal(block.shared[grid.shared_bytes + i], kGuard, "the guard behind a block's shared memory");
  }
}

void block_barrier() { wait(Waits::kBlock); }

unsigned char* shared_memory() { return block.shared.get(); }

const unsigned char* exchange(const void* mine, std::size_t bytes) {
  Fiber& fiber = block.fibers[block.running];
  const std::size_t half = fiber.exchanges++ % 2 * block.fibers.size();
  const unsigned me = block.running;
  unsigned char* all = block.exchanged.data() + (half + me / block.warp * block.warp) * kExchangeBytes;
  if (bytes > 0) std::memcpy(all + me % block.warp * kExchangeBytes, mine, bytes);
  wait(Waits::kWarp);
  return all;
}

}  // namespace clutch::cuda::shim

using clutch::cuda::shim::allocated_bytes;
using clutch::cuda::shim::settings;

namespace {
std::unordered_map<void*, std::size_t> allocations;
std::int64_t launches = 0;
bool lost() { return settings.lost_after >= 0 && launches >= settings.lost_after; }
}  // namespace

shimError_t shimMalloc(void** memory, std::size_t bytes) {
  if (allocated_bytes + bytes > settings.memory_bytes) return shimErrorMemoryAllocation;
  if (posix_memalign(memory, 256, bytes) != 0) return shimErrorMemoryAllocation;
  std::memset(*memory, 0x5A, bytes);
  allocations[*memory] = bytes;
  allocated_bytes += bytes;
  return shimSuccess;
}
shimError_t shimFree(void* memory) {
  allocated_bytes -= allocations[memory];
  allocations.erase(memory);
  std::free(memory);
  return shimSuccess;
}
shimError_t shimMemGetInfo(std::size_t* free, std::size_t* total) {
  *total = settings.memory_bytes;
  *free = settings.memory_bytes - allocated_bytes;
  return shimSuccess;
}
shimError_t shimMemcpy(void* to, const void* from, std::size_t bytes, shimCopy) {
  if (lost()) return shimErrorLost;
  std::memcpy(to, from, bytes);
  return shimSuccess;
}
shimError_t shimMemset(void* to, int value, std::size_t bytes) {
  std::memset(to, value, bytes);
  return shimSuccess;
}
shimError_t shimGetDeviceCount(int* count) {
  if (settings.driver < clutch::cuda::shim::kRuntimeVersion) return shimErrorInsufficientDriver;
  *count = settings.devices;
  return settings.devices > 0 ? shimSuccess : shimErrorNoDevice;
}
shimError_t shimDriverGetVersion(int* version) {
  *version = settings.driver;
  return shimSuccess;
}
shimError_t shimRuntimeGetVersion(int* version) {
  *version = clutch::cuda::shim::kRuntimeVersion;
  return shimSuccess;
}
shimError_t shimSetDevice(int) { return shimSuccess; }
shimError_t shimGetDeviceProperties(shimDeviceProp* properties, int) {
  std::strcpy(properties->name, "an emulation");
  properties->major = settings.major;
  properties->minor = settings.minor;
  return shimSuccess;
}
shimError_t shimDeviceGetAttribute(int* value, shimAttribute attribute, int) {
  *value = static_cast<int>(attribute == shimShared ? settings.shared_bytes
                            : attribute == shimWarp ? 32  // the least of the emulated ones
                                                    : settings.processors);
  return shimSuccess;
}
shimError_t shimFuncGetAttributes(shimFuncAttributes*, const void*) {
  return settings.has_kernels ? shimSuccess : shimErrorNoKernels;
}
shimError_t shimFuncSetAttribute(const void*, int, int) { return shimSuccess; }
shimError_t shimOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void*, int, std::size_t) {
  *blocks = 2;
  return shimSuccess;
}
shimError_t shimDeviceSynchronize() { return lost() ? shimErrorLost : shimSuccess; }
shimError_t shimGetLastError() {
  ++launches;
  return lost() ? shimErrorLost : shimSuccess;
}
const char* shimGetErrorString(shimError_t error) {
  return error == shimErrorMemoryAllocation ? "out of memory"
         : error == shimErrorLost           ? "the device is lost"
         : error == shimErrorNoKernels      ? "no kernel image"
                                            : "no error";
}
