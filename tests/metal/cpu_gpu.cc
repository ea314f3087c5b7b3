#include "metal/cpu_gpu.h"

#include <cstring>
#include <vector>

#include "backend/device/tables.h"
#include "base/check.h"
#include "metal/fibers.h"

using Runner = void(const void* push, void* const* buffers, const std::uint32_t* groups,
                    const std::uint32_t* group, std::uint32_t lane);
Runner run_noise, run_evaluate, run_evaluate_shared, run_vote, run_digest;

namespace clutch::testing {
namespace {

Runner* runner(device::Kernel kernel) {
  switch (kernel) {
    case device::Kernel::noise:
      return run_noise;
    case device::Kernel::evaluate:
      return run_evaluate;
    case device::Kernel::evaluate_shared:
      return run_evaluate_shared;
    case device::Kernel::vote:
      return run_vote;
    case device::Kernel::digest:
      return run_digest;
  }
  check_failed("a kernel is of the list", "");
}

std::uint64_t buffer_bytes = 0;

// Filled with a pattern, since a device's memory holds anything.
struct HostBuffer : device::Buffer {
  explicit HostBuffer(std::uint64_t size)
      : Buffer(size), values(size / 16 + 1, {0xA5A5A5A5A5A5A5A5, 0x5A5A5A5A5A5A5A5A}) {
    buffer_bytes += size;
  }
  ~HostBuffer() override { buffer_bytes -= bytes(); }
  std::byte* data() { return reinterpret_cast<std::byte*>(values.data()); }
  struct alignas(16) Block {
    std::uint64_t low, high;
  };
  std::vector<Block> values;
};

std::byte* data(const device::Buffer& buffer) {
  return const_cast<HostBuffer&>(static_cast<const HostBuffer&>(buffer)).data();
}

class CpuGpu : public device::Gpu {
 public:
  explicit CpuGpu(std::uint32_t shared_bytes) : shared_bytes_(shared_bytes) {}

  std::string name() const override { return "metal-on-cpu"; }
  device::Limits limits() const override { return {1ull << 28, shared_bytes_, device::kMostLanes, 0}; }
  std::uint64_t memory_bytes() const override { return (1ull << 32) - buffer_bytes; }
  Result<std::unique_ptr<device::Buffer>> make_buffer(std::uint64_t bytes) override {
    return std::unique_ptr<device::Buffer>(std::make_unique<HostBuffer>(bytes));
  }
  Status upload(device::Buffer& to, std::uint64_t offset, std::span<const std::byte> from) override {
    check(offset + from.size() <= to.bytes(), "an upload fits its buffer");
    std::memcpy(data(to) + offset, from.data(), from.size());
    return {};
  }
  Status zero(device::Buffer& buffer) override {
    std::memset(data(buffer), 0, buffer.bytes());
    return {};
  }
  Status copy(const device::Buffer& from, std::uint64_t offset, device::Buffer& to, std::uint64_t to_offset,
              std::uint64_t bytes) override {
    check(offset + bytes <= from.bytes() && to_offset + bytes <= to.bytes(), "a copy fits its buffers");
    std::memcpy(data(to) + to_offset, data(from) + offset, bytes);
    return {};
  }
  Status dispatch(device::Kernel kernel, std::uint32_t lanes, std::span<device::Buffer* const> buffers,
                  std::span<const std::byte> push, std::uint32_t groups_x, std::uint32_t groups_y) override {
    check_equal(lanes, device::kMostLanes, "threads of a threadgroup");
    std::vector<void*> numbered{nullptr};
    for (device::Buffer* buffer : buffers) numbered.push_back(data(*buffer));
    const std::uint32_t groups[3] = {groups_x, groups_y, 1};
    for (std::uint32_t y = 0; y < groups_y; ++y) {
      for (std::uint32_t x = 0; x < groups_x; ++x) {
        const std::uint32_t group[3] = {x, y, 0};
        run_fibers(lanes, [&](std::uint32_t lane) {
          runner(kernel)(push.data(), numbered.data(), groups, group, lane);
        });
      }
    }
    return {};
  }
  Status download(const device::Buffer& from, std::uint64_t offset, std::span<std::byte> to) override {
    check(offset + to.size() <= from.bytes(), "a download fits its buffer");
    std::memcpy(to.data(), data(from) + offset, to.size());
    return {};
  }
  Status submit() override { return {}; }

 private:
  const std::uint32_t shared_bytes_;
};

}  // namespace

std::shared_ptr<device::Gpu> make_cpu_gpu(std::uint32_t shared_bytes) {
  return std::make_shared<CpuGpu>(shared_bytes);
}

std::uint64_t cpu_gpu_bytes() { return buffer_bytes; }

}  // namespace clutch::testing
