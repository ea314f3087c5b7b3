// The GPU backend on emulated devices (backend/cuda/shim.h): as an NVIDIA card multiplies, as an AMD card
// with matrix instructions and wavefronts of 64 does, and as one without.
#pragma once

#include <memory>
#include <string>

#include "backend/cuda/cuda.h"
#include "backend/cuda/shim.h"

namespace clutch::cuda {

namespace shim_mma {
const Vendor& vendor();
}
namespace shim_mfma {
const Vendor& vendor();
}
namespace shim_dot {
const Vendor& vendor();
}

struct Emulated {
  const char* name;
  const Vendor& (*vendor)();
};
inline constexpr Emulated kEmulated[] = {
    {"mma", &shim_mma::vendor}, {"mfma", &shim_mfma::vendor}, {"dot", &shim_dot::vendor}};

}  // namespace clutch::cuda
