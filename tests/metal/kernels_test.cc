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

// All buffers of the engine, with votes that need memory and without.
TEST_P(MetalKernels, TheMemoryPlanIsWhatTrainingTakes) {
  for (const std::uint32_t pairs : {10u, 40000u}) {
    const bool carries = pairs == 10;
    testing::Random random(6);
    const Program program = build_program({.dim = 4, .layers = 1, .vocab = 3}, {}).value();
    const Workload workload{.noise = {.rank = 2},
                            .rule = exact::Rule::carry,
                            .members = 20,
                            .pairs = pairs,
                            .streams = 2,
                            .length = 3,
                            .carries = carries};
    const auto backend = device::make_device_backend(testing::make_cpu_gpu(GetParam()));
    const std::uint64_t before = testing::cpu_gpu_bytes();
    const MemoryPlan plan = backend->plan(program, workload).value()[0];
    EXPECT_EQ(plan.place, "metal-on-cpu");
    EXPECT_EQ(plan.available_bytes, static_cast<std::int64_t>((1ull << 32) - before));
    ASSERT_TRUE(
        backend->load(program, workload.noise, initial_weights(program, 1), {workload.rule, {}}).ok());
    const auto states = carries ? backend->new_states(workload.members).value() : nullptr;
    const auto text = testing::random_text(random, std::size_t{workload.streams} * 4, program.vocab);
    const std::vector<std::uint32_t> stream_of(workload.members, 1);
    std::vector<std::int64_t> losses(workload.members);
    ASSERT_TRUE(backend
                    ->evaluate({.noise = NoiseSource{},
                                .length = workload.length,
                                .text = text,
                                .stream_of = stream_of,
                                .states = states.get()},
                               {.losses = losses, .logits = {}})
                    .ok());
    exact::RuleStep step;
    step.rule = workload.rule;
    const std::vector<std::int8_t> fitness(pairs, 1);
    ASSERT_TRUE(backend->update({.noise = {}, .fitness = fitness, .matrix = step, .vector = step}).ok());
    EXPECT_NEAR(static_cast<double>(plan.total()), static_cast<double>(testing::cpu_gpu_bytes() - before),
                256)
        << "but for a dozen buffers' rounding to 16 bytes";
  }
}

// Slots in a buffer, and in threadgroup memory.
INSTANTIATE_TEST_SUITE_P(Slots, MetalKernels, ::testing::Values(16u << 10, 32u << 10));

}  // namespace
}  // namespace clutch
