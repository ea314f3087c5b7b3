// The memory plan of a run: what it counts, and its refusal.
#include "run/plan.h"

#include <gtest/gtest.h>

#include "models/model.h"

namespace clutch {
namespace {

MemoryPlan plan(std::int64_t dim, std::uint32_t members) {
  ModelConfig config;
  config.dim = dim;
  const Program program = build_program(config, {}).value();
  return plan_memory(program, {.size = members, .noise = {}}, members / 2, 1000, 2, true);
}

TEST(MemoryPlan, NoTermGrowsWithPopulationTimesParameters) {
  const std::int64_t both = plan(256, 4096).total() - plan(256, 1024).total();
  EXPECT_EQ(both, 2 * (4096 - 1024) * 256) << "only states grow with the population";
  EXPECT_EQ(plan(256, 4096).weights, plan(256, 1024).weights);
  EXPECT_EQ(plan(64, 16).text, 2000);
}

TEST(MemoryPlan, CoversTheWeightsAndTheirPackedCopy) {
  // egg D=64, V=256: 82,240 parameters, of which 320 in vectors; nothing is padded at 64.
  EXPECT_EQ(plan(64, 2).weights, 4 * 82240);
}

TEST(MemoryPlan, LeavesOutStatesThatAreNotCarried) {
  ModelConfig config{.arch = "transformer", .dim = 256, .layers = 4, .window = 64};
  const Program program = build_program(config, {}).value();
  const Population population{.size = 1024, .noise = {}};
  const MemoryPlan kept = plan_memory(program, population, 512, 1000, 2, true);
  const MemoryPlan reset = plan_memory(program, population, 512, 1000, 2, false);
  EXPECT_EQ(kept.states, 2 * 1024 * (2 + 64 * 8 * 256));
  EXPECT_EQ(reset.states, 0);
  EXPECT_LT(reset.total(), kept.total());
}

TEST(MemoryPlan, CountsWhatTheRuleRemembers) {
  ModelConfig config;
  const Program program = build_program(config, {}).value();
  EXPECT_EQ(plan(64, 2).rule, 0);
  // Two words of four bytes a weight, in the backend and for a checkpoint.
  EXPECT_EQ(plan_memory(program, {.size = 2, .noise = {}}, 1, 1000, 2, true, exact::Rule::momentum).rule,
            2 * 2 * 4 * 82240);
}

TEST(MemoryPlan, RefusesWhatDoesNotFitWithTheNumbers) {
  const MemoryPlan p = plan(64, 1024);
  EXPECT_TRUE(check_memory(p, p.total()).ok());
  const Status refused = check_memory(p, p.total() - 1);
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.message().find("memory: about"), 0u) << refused.message();
  EXPECT_NE(refused.message().find("--dim"), std::string::npos);
}

TEST(MemoryPlan, TheMachineHasSomeMemory) { EXPECT_GT(available_memory_bytes(), 1 << 20); }

}  // namespace
}  // namespace clutch
