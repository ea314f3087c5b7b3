// The kernels as SPIR-V, compiled from device/shaders/ when Clutch is built.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/device/gpu.h"

namespace clutch::vulkan {

struct ShaderCode {
  const std::uint32_t* words;
  std::size_t bytes;
};

// with_dot: products by the dot-product instruction.
ShaderCode shader_code(device::Kernel kernel, bool with_dot);

}  // namespace clutch::vulkan
