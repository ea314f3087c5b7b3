// Stands in for the kernels of each vendor whose compiler the build lacks; the build says which it has.
#include "backend/cuda/device.h"

namespace clutch::cuda {

#if !defined(CLUTCH_HAS_NVIDIA)
const Vendor& nvidia::vendor() {
  static const Vendor it{"cuda", "it was built without nvcc, or with CLUTCH_CUDA=OFF", "nothing", "", nullptr,
                         nullptr};
  return it;
}
#endif

#if !defined(CLUTCH_HAS_AMD)
const Vendor& amd::vendor() {
  static const Vendor it{"hip",  "it was built without hipcc, or with CLUTCH_HIP=OFF", "nothing", "", nullptr,
                         nullptr};
  return it;
}
#endif

}  // namespace clutch::cuda
