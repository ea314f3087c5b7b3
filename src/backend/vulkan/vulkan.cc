#include "backend/vulkan/vulkan.h"

#include <fmt/format.h>

#include <charconv>

#include "backend/device/engine.h"
#include "backend/vulkan/gpu.h"

namespace clutch {
namespace {

const char* kind(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete GPU";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated GPU";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual GPU";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "a CPU that pretends";
    default:
      return "of another kind";
  }
}

VulkanDevices look_up() {
  auto instance = vulkan::Instance::get();
  if (!instance.ok()) return {{}, instance.status().message()};
  VulkanDevices found;
  for (const vulkan::PhysicalDevice& device : instance.value()->devices()) {
    const VkPhysicalDeviceProperties& p = device.properties;
    found.devices.push_back({device.unavailable,
                             fmt::format("{}, {}{}", p.deviceName, kind(p.deviceType),
                                         device.has_dot ? ", int8 dot products" : ""),
                             p.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU});
  }
  if (found.devices.empty()) found.none = "its loader knows no device: install your device's Vulkan driver";
  return found;
}

}  // namespace

const VulkanDevices& vulkan_devices() {
  static const VulkanDevices devices = look_up();
  return devices;
}

Result<std::shared_ptr<device::Gpu>> make_vulkan_gpu(const std::string& number, std::uint32_t lanes) {
  std::size_t index = 0;
  std::from_chars(number.data(), number.data() + number.size(), index);
  auto instance = vulkan::Instance::get();
  if (!instance.ok()) return instance.status();
  if (index >= instance.value()->devices().size()) {
    return fail("vulkan:" + number, "is gone", "`clutch info` lists the devices of this machine");
  }
  auto device = vulkan::open_device(instance.value(), index);
  if (!device.ok()) return device.status();
  return vulkan::make_gpu(device.value(), lanes);
}

Result<std::unique_ptr<Backend>> make_vulkan_backend(const std::string& number) {
  auto gpu = make_vulkan_gpu(number);
  if (!gpu.ok()) return gpu.status();
  return device::make_device_backend(std::move(gpu).value());
}

}  // namespace clutch
