// The table of portable kernels.
#pragma once

#include "backend/cpu/generic/attention.h"
#include "backend/cpu/generic/kernels.h"

namespace clutch::cpu {
namespace {
namespace generic {

inline constexpr Kernels kernels(const char* name) {
  return {.name = name, .rows = 1, CLUTCH_KERNELS(CLUTCH_KERNEL_ENTRY).multiply_registers = nullptr};
}

}  // namespace generic
}  // namespace
}  // namespace clutch::cpu
