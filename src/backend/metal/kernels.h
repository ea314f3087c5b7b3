// The kernels in the Metal shading language, generated from device/shaders/ when Clutch is built: msl/*.metal.h in the build
// tree each hold one as a string.
#pragma once

#include "backend/device/gpu.h"

namespace clutch::metal {

struct KernelSource {
  const char* name;  // of its function
  const char* text;
};

inline KernelSource kernel_source(device::Kernel kernel) {
  switch (kernel) {
    case device::Kernel::noise:
      return {"clutch_noise",
#include "noise.metal.h"
      };
    case device::Kernel::evaluate:
      return {"clutch_evaluate",
#include "evaluate.metal.h"
      };
    case device::Kernel::evaluate_shared:
      return {"clutch_evaluate_shared",
#include "evaluate_shared.metal.h"
      };
    case device::Kernel::vote:
      return {"clutch_vote",
#include "vote.metal.h"
      };
    case device::Kernel::digest:
      return {"clutch_digest",
#include "digest.metal.h"
      };
  }
  return {};
}

}  // namespace clutch::metal
