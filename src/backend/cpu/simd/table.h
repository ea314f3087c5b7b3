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
  return {name,
          packed_bytes,
          pack,
          scratch_bytes,
          matmul,
          norm,
          embed,
          copy,
          add,
          add_bias,
          gate,
          mix,
          relu,
          bias,
          gelu,
          rescale,
          add_rescale,
          rotate,
          attend_scratch_bytes,
          attend,
          loss,
          fill_noise,
          fill_pairs,
          pack_terms,
          vote_scratch_bytes,
          vote,
          vote_vector,
          digest,
          multiply_registers<Dot, kBlockRows>};
}

}  // namespace
}  // namespace clutch::cpu
