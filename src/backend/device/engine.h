// A Backend on any Gpu: plans buffers and batches of members, records kernels, and moves nothing between host
// and device in a training step but text, losses, fitness and a digest.
#pragma once

#include <memory>

#include "backend/backend.h"
#include "backend/device/gpu.h"

namespace clutch::device {

// At most this many tokens are evaluated by one submission.
constexpr std::uint32_t kTokensPerSubmission = 64;

std::unique_ptr<Backend> make_device_backend(std::shared_ptr<Gpu> gpu);

}  // namespace clutch::device
