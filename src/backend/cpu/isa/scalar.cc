// cpu:scalar: the portable kernels at the baseline of the machine the program is built for.
#include "backend/cpu/generic/table.h"

namespace clutch::cpu {

const Kernels& scalar_kernels() {
  static constexpr Kernels table = generic::kernels("scalar");
  return table;
}

}  // namespace clutch::cpu
