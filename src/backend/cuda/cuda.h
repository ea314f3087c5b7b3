// The backend for GPUs of NVIDIA and AMD: docs/BACKENDS.md. It knows no vendor: device.h stands between.
#pragma once

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "backend/cuda/device.h"

namespace clutch {

// "cuda", then "hip"; those absent from the build too.
std::vector<const cuda::Vendor*> cuda_vendors();

std::unique_ptr<Backend> make_cuda_backend(std::unique_ptr<cuda::Device> device);

}  // namespace clutch
