// device::Gpu on Metal: memory that host and device share, one command buffer that is recorded, committed and waited for.
// Compiled with automatic reference counting.
#include "backend/metal/metal.h"

#import <Foundation/Foundation.h>
#import <Metal/Metal.h>

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <utility>

#include "backend/device/engine.h"
#include "backend/device/tables.h"
#include "backend/metal/kernels.h"
#include "base/check.h"

namespace clutch {
namespace metal {
namespace {

constexpr std::uint64_t kMostBufferBytes = 0xFFFFFFFC;  // kernels count words with 32 bits

std::string text_of(NSError* error) {
  return error == nil ? "it does not say why" : std::string(error.localizedDescription.UTF8String);
}

class MetalBuffer : public device::Buffer {
 public:
  MetalBuffer(id<MTLBuffer> handle, std::uint64_t bytes) : Buffer(bytes), handle_(handle) {}
  id<MTLBuffer> handle() const { return handle_; }
  std::byte* contents() const { return static_cast<std::byte*>(handle_.contents); }

 private:
  id<MTLBuffer> handle_;
};

const MetalBuffer& of(const device::Buffer& buffer) { return static_cast<const MetalBuffer&>(buffer); }

class MetalGpu : public device::Gpu {
 public:
  MetalGpu(id<MTLDevice> gpu, std::string name)
      : device_(gpu), name_(std::move(name)), queue_([gpu newCommandQueue]) {}

  std::string name() const override { return name_; }

  device::Limits limits() const override {
    return {std::min<std::uint64_t>(device_.maxBufferLength, kMostBufferBytes),
            static_cast<std::uint32_t>(device_.maxThreadgroupMemoryLength), device::kMostLanes, 0};
  }

  std::uint64_t memory_bytes() const override {
    const std::uint64_t most = device_.recommendedMaxWorkingSetSize, taken = device_.currentAllocatedSize;
    return most > taken ? most - taken : 0;
  }

  Result<std::unique_ptr<device::Buffer>> make_buffer(std::uint64_t bytes) override {
    id<MTLBuffer> handle = [device_ newBufferWithLength:bytes options:MTLResourceStorageModeShared];
    if (handle == nil) {
      return fail(name_, fmt::format("is out of memory: a buffer of {} bytes", bytes),
                  "use a smaller --population or model, or --backend cpu; a run goes on with --resume");
    }
    return std::unique_ptr<device::Buffer>(std::make_unique<MetalBuffer>(handle, bytes));
  }

  // Memory is shared, and what was submitted before has ended.
  Status upload(device::Buffer& to, std::uint64_t offset, std::span<const std::byte> from) override {
    std::memcpy(of(to).contents() + offset, from.data(), from.size());
    traffic_.bytes_up += from.size();
    return {};
  }

  Status zero(device::Buffer& buffer) override {
    [blits() fillBuffer:of(buffer).handle() range:NSMakeRange(0, buffer.bytes()) value:0];
    return {};
  }

  Status copy(const device::Buffer& from, std::uint64_t offset, device::Buffer& to, std::uint64_t to_offset,
              std::uint64_t bytes) override {
    [blits() copyFromBuffer:of(from).handle()
               sourceOffset:offset
                   toBuffer:of(to).handle()
          destinationOffset:to_offset
                       size:bytes];
    return {};
  }

  Status dispatch(device::Kernel kernel, std::uint32_t lanes, std::span<device::Buffer* const> buffers,
                  std::span<const std::byte> push, std::uint32_t groups_x, std::uint32_t groups_y) override {
    CLUTCH_RETURN_IF_ERROR(make_pipeline(kernel));
    id<MTLComputeCommandEncoder> encoder = kernels();
    [encoder setComputePipelineState:pipelines_[static_cast<std::size_t>(kernel)]];
    [encoder setBytes:push.data() length:push.size() atIndex:0];
    for (std::size_t i = 0; i < buffers.size(); ++i) {
      [encoder setBuffer:of(*buffers[i]).handle() offset:0 atIndex:i + 1];
    }
    [encoder dispatchThreadgroups:MTLSizeMake(groups_x, groups_y, 1) threadsPerThreadgroup:MTLSizeMake(lanes, 1, 1)];
    return {};
  }

  Status download(const device::Buffer& from, std::uint64_t offset, std::span<std::byte> to) override {
    fetches_.push_back({of(from).contents() + offset, to});
    traffic_.bytes_down += to.size();
    return {};
  }

  Status submit() override {
    end_encoder();
    if (commands_ != nil) {
      [commands_ commit];
      [commands_ waitUntilCompleted];
      if (commands_.status != MTLCommandBufferStatusCompleted) {
        return fail(name_, "gave up while it computed: " + text_of(commands_.error),
                    "a run goes on from its last checkpoint with --resume, on this device or with --backend cpu");
      }
      commands_ = nil;
      ++traffic_.submissions;
    }
    for (const Fetch& fetch : fetches_) std::memcpy(fetch.to.data(), fetch.from, fetch.to.size());
    fetches_.clear();
    return {};
  }

 private:
  Status make_pipeline(device::Kernel kernel) {
    id<MTLComputePipelineState> __strong& pipeline = pipelines_[static_cast<std::size_t>(kernel)];
    if (pipeline != nil) return {};
    const KernelSource source = kernel_source(kernel);
    const auto failure = [&](const std::string& problem) {
      return fail(name_, fmt::format("cannot use the kernel {}: {}", source.name, problem),
                  "use --backend cpu, and report this with your macOS version");
    };
    NSError* error = nil;
    id<MTLLibrary> library = [device_ newLibraryWithSource:[NSString stringWithUTF8String:source.text]
                                                   options:nil
                                                     error:&error];
    if (library == nil) return failure(text_of(error));
    id<MTLFunction> function = [library newFunctionWithName:[NSString stringWithUTF8String:source.name]];
    if (function == nil) return failure("its function is missing");
    pipeline = [device_ newComputePipelineStateWithFunction:function error:&error];
    if (pipeline == nil) return failure(text_of(error));
    if (pipeline.maxTotalThreadsPerThreadgroup < device::kMostLanes) {
      return failure(fmt::format("the device takes {} threads of it, not {}",
                                 static_cast<std::uint64_t>(pipeline.maxTotalThreadsPerThreadgroup),
                                 device::kMostLanes));
    }
    return {};
  }

  // Encoders follow each other in one command buffer; what one writes, the next one sees.
  id<MTLCommandBuffer> commands() {
    if (commands_ == nil) commands_ = [queue_ commandBuffer];
    return commands_;
  }
  id<MTLBlitCommandEncoder> blits() {
    if (blits_ == nil) {
      end_encoder();
      blits_ = [commands() blitCommandEncoder];
    }
    return blits_;
  }
  id<MTLComputeCommandEncoder> kernels() {
    if (kernels_ == nil) {
      end_encoder();
      kernels_ = [commands() computeCommandEncoder];
    }
    return kernels_;
  }
  void end_encoder() {
    [blits_ endEncoding];
    [kernels_ endEncoding];
    blits_ = nil;
    kernels_ = nil;
  }

  struct Fetch {
    const std::byte* from;
    std::span<std::byte> to;
  };

  id<MTLDevice> device_;
  const std::string name_;
  id<MTLCommandQueue> queue_;
  id<MTLCommandBuffer> commands_ = nil;
  id<MTLBlitCommandEncoder> blits_ = nil;
  id<MTLComputeCommandEncoder> kernels_ = nil;
  std::array<id<MTLComputePipelineState>, device::kKernels> pipelines_;
  std::vector<Fetch> fetches_;
};

}  // namespace
}  // namespace metal

const MetalDevices& metal_devices() {
  static const MetalDevices devices = [] {
    MetalDevices found;
    for (id<MTLDevice> device in MTLCopyAllDevices()) found.devices.push_back(device.name.UTF8String);
    if (found.devices.empty()) found.none = "this machine has no Metal device";
    return found;
  }();
  return devices;
}

Result<std::unique_ptr<Backend>> make_metal_backend(const std::string& number) {
  std::size_t index = 0;
  std::from_chars(number.data(), number.data() + number.size(), index);
  NSArray<id<MTLDevice>>* devices = MTLCopyAllDevices();
  if (index >= devices.count) return fail("metal:" + number, "is gone", "`clutch info` lists this machine's devices");
  return device::make_device_backend(std::make_shared<metal::MetalGpu>(devices[index], "metal:" + number));
}

}  // namespace clutch
