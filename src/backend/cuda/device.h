// One accelerator: memory, copies and the kernels, whoever made it. The backend (cuda.cc) is written against
// this and knows no vendor; a vendor's runtime (runtime.cu) implements it, and so does the emulation that
// tests run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/cuda/arguments.h"
#include "base/status.h"

namespace clutch::cuda {

struct Facts {
  std::string name;                    // "cuda:0"
  std::string chip;                    // as its driver calls it
  std::uint32_t shared_bytes = 0;      // that a block may have
  std::uint32_t processors = 0;        // that run blocks
  std::uint32_t warp = 0;              // threads that run in step
  std::uint32_t row_tiles = 0;         // of a tile of members, at most
  std::uint32_t evaluate_threads = 0;  // of a block
};

// Every failure names the device and a way out. After one of them nothing of the device is to be used again.
class Device {
 public:
  virtual ~Device() = default;
  virtual const Facts& facts() const = 0;

  // Memory of at least one byte; null where there is none left.
  virtual Result<void*> allocate(std::uint64_t bytes) = 0;
  virtual void release(void* memory) = 0;
  virtual std::uint64_t free_bytes() = 0;

  virtual Status upload(void* device, const void* host, std::uint64_t bytes) = 0;
  virtual Status download(void* host, const void* device, std::uint64_t bytes) = 0;
  virtual Status clear(void* device, std::uint64_t bytes) = 0;

  // Blocks of a tile that the device runs at the same time.
  virtual Result<std::uint32_t> resident_blocks(const TileShape& tile) = 0;
  virtual Status evaluate(const EvaluateArguments& arguments, std::uint32_t blocks) = 0;
  virtual Status update(const UpdateArguments& arguments) = 0;

  // Kernels and clears that were started so far.
  virtual std::uint64_t launches() const = 0;
};

// A maker of devices. Each is compiled by its own compiler, or is absent from the build.
struct Vendor {
  const char* family;                  // of backends: "cuda"
  const char* absent;                  // why the build lacks it; empty where it has it
  const char* built_for;               // architectures
  const char* summary;                 // what its devices are, and whether the kernels ever ran on one
  int (*count)(std::string& problem);  // of devices; where there are none, why
  Result<std::unique_ptr<Device>> (*open)(int index);
};

namespace nvidia {
const Vendor& vendor();
}
namespace amd {
const Vendor& vendor();
}

}  // namespace clutch::cuda
