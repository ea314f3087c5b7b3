// Stands in for the kernels of this vendor in a build without them.
#include "backend/cuda/device.h"

namespace clutch::cuda::amd {

const Vendor& vendor() {
  static const Vendor it{"hip", "it was built without hipcc, or with CLUTCH_HIP=OFF", "nothing", nullptr,
                         nullptr};
  return it;
}

}  // namespace clutch::cuda::amd
