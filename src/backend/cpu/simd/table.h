// The table of an instruction set, once its vector header and its Dot are included.
#pragma once

#include "backend/cpu/simd/attention.h"
#include "backend/cpu/simd/loss.h"
#include "backend/cpu/simd/noise.h"
#include "backend/cpu/simd/product.h"
#include "backend/cpu/simd/rescale.h"
#include "backend/cpu/simd/rows.h"
#include "backend/cpu/simd/votes.h"

namespace clutch::cpu {
namespace {

inline constexpr Kernels simd_kernels(const char* name) {
  return {.name = name,
          .rows = rows_at_a_time<Dot>(),
          CLUTCH_KERNELS(CLUTCH_KERNEL_ENTRY).multiply_registers = multiply_registers<Dot, kBlockRows>};
}

}  // namespace
}  // namespace clutch::cpu
