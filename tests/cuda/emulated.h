// The GPU backend on emulated devices (backend/cuda/shim.h): as an NVIDIA card multiplies, as an AMD card
// with matrix instructions and wavefronts of 64 does, and as one without.
#pragma once

#include <memory>
#include <string>

#include "backend/cuda/cuda.h"
#include "backend/cuda/shim.h"

namespace clutch::cuda {

namespace shim_mma {
const Vendor& vendor();
}
namespace shim_mfma {
const Vendor& vendor();
}
namespace shim_dot {
const Vendor& vendor();
}

// A device in front of another, to which it passes everything on.
class Before : public Device {
 public:
  explicit Before(std::unique_ptr<Device> device) : device_(std::move(device)) {}
  const Facts& facts() const override { return device_->facts(); }
  Result<void*> allocate(std::uint64_t bytes) override { return device_->allocate(bytes); }
  void release(void* memory) override { device_->release(memory); }
  std::uint64_t free_bytes() override { return device_->free_bytes(); }
  Status upload(void* to, const void* from, std::uint64_t bytes) override {
    return device_->upload(to, from, bytes);
  }
  Status download(void* to, const void* from, std::uint64_t bytes) override {
    return device_->download(to, from, bytes);
  }
  Status clear(void* memory, std::uint64_t bytes) override { return device_->clear(memory, bytes); }
  Result<std::uint32_t> resident_blocks(const TileShape& tile) override {
    return device_->resident_blocks(tile);
  }
  Status evaluate(const EvaluateArguments& arguments, std::uint32_t blocks) override {
    return device_->evaluate(arguments, blocks);
  }
  Status update(const UpdateArguments& arguments) override { return device_->update(arguments); }
  std::uint64_t launches() const override { return device_->launches(); }

 private:
  std::unique_ptr<Device> device_;
};

struct Emulated {
  const char* name;
  const Vendor& (*vendor)();
};
inline constexpr Emulated kEmulated[] = {
    {"mma", &shim_mma::vendor}, {"mfma", &shim_mfma::vendor}, {"dot", &shim_dot::vendor}};

}  // namespace clutch::cuda
