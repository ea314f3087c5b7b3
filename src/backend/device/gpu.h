// What the engine (engine.h) asks of a device: buffers, a recorded list of work, and its submission. An
// implementation per vendor's interface; no vendor's header comes in here. Whatever is recorded sees all that
// was recorded before it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/status.h"

namespace clutch::device {

// The kernels of shaders/. Buffers of a dispatch are bound from binding 1 on, in the order the shader lists
// them.
enum class Kernel : std::uint8_t {
  noise,
  evaluate,         // members' slots in a buffer
  evaluate_shared,  // the same with slots in shared memory
  vote,
  digest,
};
constexpr int kKernels = 5;

struct Limits {
  std::uint64_t buffer_bytes = 0;  // the largest buffer a kernel can see
  std::uint32_t shared_bytes = 0;  // of a workgroup
  std::uint32_t lanes = 0;  // invocations of a workgroup that suit it, a multiple of kTile up to kMostLanes
  // Iterations of loops that an invocation is known to get through, nested ones counted each; 0: any number.
  std::uint32_t iterations = 0;
};

// What has crossed between host and device, for tests.
struct Traffic {
  std::uint64_t submissions = 0, bytes_up = 0, bytes_down = 0;
};

class Buffer {
 public:
  explicit Buffer(std::uint64_t bytes) : bytes_(bytes) {}
  virtual ~Buffer() = default;
  std::uint64_t bytes() const { return bytes_; }

 private:
  std::uint64_t bytes_;
};

class Gpu {
 public:
  virtual ~Gpu() = default;

  virtual std::string name() const = 0;  // "vulkan:0"
  virtual Limits limits() const = 0;
  // Bytes that buffers may take: those that are free, or all where the device does not say how many are.
  virtual std::uint64_t memory_bytes() const = 0;

  // Its contents are undefined. Fails where memory is short. A buffer may outlive the Gpu.
  virtual Result<std::unique_ptr<Buffer>> make_buffer(std::uint64_t bytes) = 0;

  // Recorded in order; a failure leaves the Gpu fit only to be destroyed. Offsets and sizes are multiples
  // of 4.
  virtual Status upload(Buffer& to, std::uint64_t offset, std::span<const std::byte> from) = 0;
  virtual Status zero(Buffer& buffer) = 0;
  virtual Status copy(const Buffer& from, std::uint64_t offset, Buffer& to, std::uint64_t to_offset,
                      std::uint64_t bytes) = 0;
  // lanes: Limits::lanes, or kMostLanes.
  virtual Status dispatch(Kernel kernel, std::uint32_t lanes, std::span<Buffer* const> buffers,
                          std::span<const std::byte> push, std::uint32_t groups_x,
                          std::uint32_t groups_y) = 0;
  // `to` is filled by submit(); nothing recorded until then changes the buffer.
  virtual Status download(const Buffer& from, std::uint64_t offset, std::span<std::byte> to) = 0;

  // Runs what was recorded and waits for it.
  virtual Status submit() = 0;

  const Traffic& traffic() const { return traffic_; }

 protected:
  Traffic traffic_;
};

}  // namespace clutch::device
