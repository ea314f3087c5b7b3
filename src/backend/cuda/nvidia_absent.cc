// Stands in for the kernels of this vendor in a build without them.
#include "backend/cuda/device.h"

namespace clutch::cuda::nvidia {

const Vendor& vendor() {
  static const Vendor it{"cuda", "it was built without nvcc, or with CLUTCH_CUDA=OFF", "nothing", nullptr,
                         nullptr};
  return it;
}

}  // namespace clutch::cuda::nvidia
