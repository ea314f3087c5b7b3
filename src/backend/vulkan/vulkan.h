// The Vulkan backend: device/engine.h on any vendor's device, one per number. Built where Vulkan's headers
// and glslangValidator are; the loader is looked for when it is needed.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/device/gpu.h"

namespace clutch {

struct VulkanDevice {
  std::string unavailable;  // why it cannot run programs; empty where it can
  std::string summary;      // its name and kind
  bool emulated = false;    // run by the processor
};

// The devices of this machine by number, looked up once. Where there is nothing to list, `none` says why.
struct VulkanDevices {
  std::vector<VulkanDevice> devices;
  std::string none;
};
const VulkanDevices& vulkan_devices();

// `number` of the list, as text: that one must be available.
Result<std::unique_ptr<Backend>> make_vulkan_backend(const std::string& number);

// The same device as the engine sees it, for tests; lanes as gpu.h has them.
Result<std::shared_ptr<device::Gpu>> make_vulkan_gpu(const std::string& number, std::uint32_t lanes = 0);

}  // namespace clutch
