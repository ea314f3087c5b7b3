// A device::Gpu on an opened Vulkan device.
#pragma once

#include <memory>

#include "backend/device/gpu.h"
#include "backend/vulkan/memory.h"

namespace clutch::vulkan {

Result<std::shared_ptr<device::Gpu>> make_gpu(const std::shared_ptr<Device>& device);

}  // namespace clutch::vulkan
