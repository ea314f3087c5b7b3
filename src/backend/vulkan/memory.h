// A Vulkan device, and buffers that keep it alive.
#pragma once

#include <memory>

#include "backend/device/gpu.h"
#include "backend/vulkan/instance.h"

namespace clutch::vulkan {

struct Device {
  ~Device();

  std::shared_ptr<Instance> instance;
  const PhysicalDevice* physical = nullptr;
  std::string name;  // "vulkan:0"
  VkDevice handle = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  DeviceApi api;
  VkPhysicalDeviceMemoryProperties memory{};
};

Result<std::shared_ptr<Device>> open_device(const std::shared_ptr<Instance>& instance, std::size_t number);

// Of the heap that a kernel's buffers lie in. How much of it is free only an extension says.
std::uint64_t heap_bytes(const Device& device);

enum class Place { kDevice, kUpload, kDownload };

class VulkanBuffer : public device::Buffer {
 public:
  static Result<std::unique_ptr<VulkanBuffer>> create(const std::shared_ptr<Device>& device,
                                                      std::uint64_t bytes, Place place);
  ~VulkanBuffer() override;

  VkBuffer handle() const { return buffer_; }
  std::byte* mapped() const { return mapped_; }  // null but for places of the host

 private:
  VulkanBuffer(std::shared_ptr<Device> device, std::uint64_t bytes)
      : Buffer(bytes), device_(std::move(device)) {}
  Status allocate(Place place);

  const std::shared_ptr<Device> device_;
  VkBuffer buffer_ = VK_NULL_HANDLE;
  VkDeviceMemory memory_ = VK_NULL_HANDLE;
  std::byte* mapped_ = nullptr;
};

}  // namespace clutch::vulkan
