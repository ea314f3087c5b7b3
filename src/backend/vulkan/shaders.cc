#include "backend/vulkan/shaders.h"

#include "base/check.h"

namespace clutch::vulkan {
namespace {

// Made by glslangValidator in the build tree: arrays named after their files.
#include "digest.spv.h"
#include "evaluate.spv.h"
#include "evaluate_dot.spv.h"
#include "evaluate_shared.spv.h"
#include "evaluate_shared_dot.spv.h"
#include "noise.spv.h"
#include "vote.spv.h"

template <std::size_t N>
ShaderCode of(const std::uint32_t (&words)[N]) {
  return {words, 4 * N};
}

}  // namespace

ShaderCode shader_code(device::Kernel kernel, bool with_dot) {
  switch (kernel) {
    case device::Kernel::noise:
      return of(noise_spv);
    case device::Kernel::evaluate:
      return with_dot ? of(evaluate_dot_spv) : of(evaluate_spv);
    case device::Kernel::evaluate_shared:
      return with_dot ? of(evaluate_shared_dot_spv) : of(evaluate_shared_spv);
    case device::Kernel::vote:
      return of(vote_spv);
    case device::Kernel::digest:
      return of(digest_spv);
  }
  check_failed("a kernel is of the list", "");
}

}  // namespace clutch::vulkan
