// The Metal kernels, as generated, run on the CPU by the engine that will run them on Apple's devices: random
// programs and both architectures equal the reference. What this cannot show is Apple's compiler and its
// memory.
#include <gtest/gtest.h>

#include "backend/device/engine.h"
#include "backend/device_cases.h"
#include "metal/cpu_gpu.h"
#include "models/model.h"

namespace clutch {
namespace {

class MetalKernels : public ::testing::TestWithParam<std::uint32_t> {
 protected:
  const std::unique_ptr<Backend> backend_ = device::make_device_backend(testing::make_cpu_gpu(GetParam()));
};

TEST_P(MetalKernels, RandomProgramsEqualTheReference) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    testing::expect_like_reference(*backend_, testing::random_case(seed), seed);
  }
}

TEST_P(MetalKernels, BothArchitecturesEqualTheReference) {
  testing::DeviceCase egg{build_program({.dim = 48, .layers = 2, .activation = "relu"}, {}).value()};
  testing::expect_like_reference(*backend_, egg, 3);
  testing::DeviceCase transformer{
      build_program({.arch = "transformer", .dim = 64, .layers = 1, .window = 4}, {}).value()};
  transformer.rule = exact::Rule::adamw;
  testing::expect_like_reference(*backend_, transformer, 4);
}

// Slots in a buffer, and in threadgroup memory.
INSTANTIATE_TEST_SUITE_P(Slots, MetalKernels, ::testing::Values(16u << 10, 32u << 10));

}  // namespace
}  // namespace clutch
