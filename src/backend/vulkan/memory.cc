#include "backend/vulkan/memory.h"

#include <fmt/format.h>

namespace clutch::vulkan {
namespace {

constexpr VkMemoryPropertyFlags kHost =
    VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;

// The first memory type of those allowed that has the flags; -1 where there is none.
int find_type(const VkPhysicalDeviceMemoryProperties& memory, std::uint32_t allowed,
              VkMemoryPropertyFlags flags) {
  for (std::uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    if ((allowed >> i & 1) != 0 && (memory.memoryTypes[i].propertyFlags & flags) == flags)
      return static_cast<int>(i);
  }
  return -1;
}

int best_type(const VkPhysicalDeviceMemoryProperties& memory, std::uint32_t allowed, Place place) {
  // Vulkan promises a host-visible and coherent type; cached is faster to read from.
  if (place == Place::kDevice) {
    const int local = find_type(memory, allowed, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
    return local >= 0 ? local : find_type(memory, allowed, 0);
  }
  const int cached = find_type(memory, allowed, kHost | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
  return place == Place::kDownload && cached >= 0 ? cached : find_type(memory, allowed, kHost);
}

}  // namespace

Device::~Device() {
  if (handle != VK_NULL_HANDLE) api.vkDestroyDevice(handle, nullptr);
}

Result<std::shared_ptr<Device>> open_device(const std::shared_ptr<Instance>& instance, std::size_t number) {
  auto device = std::make_shared<Device>();
  device->instance = instance;
  device->physical = &instance->devices()[number];
  device->name = fmt::format("vulkan:{}", number);
  const InstanceApi& vk = instance->api();
  const float priority = 1;  // of the queue: the interface asks for a float, no number of a program is one
  VkDeviceQueueCreateInfo queue{};
  queue.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO;
  queue.queueFamilyIndex = device->physical->queue_family;
  queue.queueCount = 1;
  queue.pQueuePriorities = &priority;
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot{};
  dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  dot.shaderIntegerDotProduct = VK_TRUE;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  features.pNext = device->physical->has_dot ? &dot : nullptr;
  features.features.shaderInt64 = VK_TRUE;
  VkDeviceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO;
  info.pNext = &features;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  CLUTCH_RETURN_IF_ERROR(
      to_status(vk.vkCreateDevice(device->physical->handle, &info, nullptr, &device->handle), device->name,
                "opening it"));
#define CLUTCH_VULKAN_FETCH(name) \
  device->api.name = reinterpret_cast<PFN_##name>(vk.vkGetDeviceProcAddr(device->handle, #name));
  CLUTCH_VULKAN_DEVICE(CLUTCH_VULKAN_FETCH)
#undef CLUTCH_VULKAN_FETCH
  device->api.vkGetDeviceQueue(device->handle, device->physical->queue_family, 0, &device->queue);
  vk.vkGetPhysicalDeviceMemoryProperties(device->physical->handle, &device->memory);
  return device;
}

std::uint64_t heap_bytes(const Device& device) {
  const int type = best_type(device.memory, 0xFFFFFFFF, Place::kDevice);
  return type < 0 ? 0 : device.memory.memoryHeaps[device.memory.memoryTypes[type].heapIndex].size;
}

Result<std::unique_ptr<VulkanBuffer>> VulkanBuffer::create(const std::shared_ptr<Device>& device,
                                                           std::uint64_t bytes, Place place) {
  auto buffer = std::unique_ptr<VulkanBuffer>(new VulkanBuffer(device, bytes));
  CLUTCH_RETURN_IF_ERROR(buffer->allocate(place));
  return buffer;
}

Status VulkanBuffer::allocate(Place place) {
  const DeviceApi& vk = device_->api;
  const std::string what = fmt::format("a buffer of {} bytes", bytes());
  VkBufferCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO;
  info.size = bytes();
  info.usage = VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  if (place == Place::kDevice) info.usage |= VK_BUFFER_USAGE_STORAGE_BUFFER_BIT;
  CLUTCH_RETURN_IF_ERROR(
      to_status(vk.vkCreateBuffer(device_->handle, &info, nullptr, &buffer_), device_->name, what));
  VkMemoryRequirements needs{};
  vk.vkGetBufferMemoryRequirements(device_->handle, buffer_, &needs);
  VkMemoryAllocateInfo memory{};
  memory.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO;
  memory.allocationSize = needs.size;
  const int type = best_type(device_->memory, needs.memoryTypeBits, place);
  if (type < 0)
    return to_status(VK_ERROR_OUT_OF_DEVICE_MEMORY, device_->name, what + " has no memory to lie in");
  memory.memoryTypeIndex = static_cast<std::uint32_t>(type);
  CLUTCH_RETURN_IF_ERROR(
      to_status(vk.vkAllocateMemory(device_->handle, &memory, nullptr, &memory_), device_->name, what));
  CLUTCH_RETURN_IF_ERROR(
      to_status(vk.vkBindBufferMemory(device_->handle, buffer_, memory_, 0), device_->name, what));
  if (place == Place::kDevice) return {};
  void* mapped = nullptr;
  CLUTCH_RETURN_IF_ERROR(
      to_status(vk.vkMapMemory(device_->handle, memory_, 0, VK_WHOLE_SIZE, 0, &mapped), device_->name, what));
  mapped_ = static_cast<std::byte*>(mapped);
  return {};
}

VulkanBuffer::~VulkanBuffer() {
  if (buffer_ != VK_NULL_HANDLE) device_->api.vkDestroyBuffer(device_->handle, buffer_, nullptr);
  if (memory_ != VK_NULL_HANDLE) device_->api.vkFreeMemory(device_->handle, memory_, nullptr);
}

}  // namespace clutch::vulkan
