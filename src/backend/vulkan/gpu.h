// A device::Gpu on an opened Vulkan device.
#pragma once

#include <memory>

#include "backend/device/gpu.h"
#include "backend/vulkan/memory.h"

namespace clutch::vulkan {

// lanes: invocations of a workgroup, a multiple of device::kTile up to kMostLanes; 0 for what suits the
// device.
Result<std::shared_ptr<device::Gpu>> make_gpu(const std::shared_ptr<Device>& device, std::uint32_t lanes);

}  // namespace clutch::vulkan
