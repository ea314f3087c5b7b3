// A device::Gpu that runs the generated Metal kernels on the CPU.
#pragma once

#include <memory>

#include "backend/device/gpu.h"

namespace clutch::testing {

// shared_bytes: of a threadgroup, as the device would say.
std::shared_ptr<device::Gpu> make_cpu_gpu(std::uint32_t shared_bytes);

// Of all buffers that there are now.
std::uint64_t cpu_gpu_bytes();

}  // namespace clutch::testing
