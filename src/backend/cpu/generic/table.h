// The table of portable kernels.
#pragma once

#include "backend/cpu/generic/attention.h"
#include "backend/cpu/generic/kernels.h"

namespace clutch::cpu {
namespace {
namespace generic {

inline constexpr Kernels kernels(const char* name) {
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
          nullptr};
}

}  // namespace generic
}  // namespace
}  // namespace clutch::cpu
