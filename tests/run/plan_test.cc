// The memory plan of a run: what it counts, of which memory, and its refusal. Plans of devices are compared
// with what they take in tests/cuda/ and tests/metal/.
#include "run/plan.h"

#include <gtest/gtest.h>

#include "backend/cpu/cpu.h"
#include "backend/select.h"
#include "models/model.h"

namespace clutch {
namespace {

std::vector<MemoryPlan> plan(const ModelConfig& config, const Workload& workload,
                             const std::string& backend = "cpu:scalar") {
  const Program program = build_program(config, workload.noise).value();
  return plan_memory(*make_backend(backend, 2).value(), program, workload, 1000).value();
}

Workload training(std::uint32_t members) {
  return {.members = members, .pairs = members / 2, .carries = true};
}

MemoryPlan plan(std::int64_t dim, std::uint32_t members) { return plan({.dim = dim}, training(members))[0]; }

std::int64_t part(const MemoryPlan& plan, const std::string& what) {
  for (const MemoryPart& one : plan.parts) {
    if (one.what == what) return one.bytes;
  }
  ADD_FAILURE() << "no part " << what;
  return -1;
}

TEST(MemoryPlan, NoTermGrowsWithPopulationTimesParameters) {
  const std::int64_t both = plan(256, 4096).total() - plan(256, 1024).total();
  EXPECT_EQ(both, 2 * (4096 - 1024) * 256) << "only states grow with the population";
  EXPECT_EQ(part(plan(256, 4096), "weights"), part(plan(256, 1024), "weights"));
  EXPECT_EQ(part(plan(64, 16), "text"), 2000);
}

TEST(MemoryPlan, CoversTheWeightsAndTheirPackedCopy) {
  // egg D=64, V=256: 82,240 parameters, of which 320 in vectors; nothing is padded at 64.
  EXPECT_EQ(part(plan(64, 2), "weights"), 4 * 82240);
}

TEST(MemoryPlan, LeavesOutStatesThatAreNotCarried) {
  const ModelConfig config{.arch = "transformer", .dim = 256, .layers = 4, .window = 64};
  Workload workload = training(1024);
  const MemoryPlan kept = plan(config, workload)[0];
  workload.carries = false;
  const MemoryPlan reset = plan(config, workload)[0];
  EXPECT_EQ(part(kept, "states"), 2 * 1024 * (2 + 64 * 8 * 256));
  EXPECT_EQ(part(reset, "states"), 0);
  EXPECT_LT(reset.total(), kept.total());
}

TEST(MemoryPlan, CountsWhatTheRuleRemembers) {
  EXPECT_EQ(part(plan(64, 2), "rule"), 0);
  Workload workload = training(2);
  workload.rule = exact::Rule::momentum;
  // Two words of four bytes a weight, in the backend and for a checkpoint.
  EXPECT_EQ(part(plan({}, workload)[0], "rule"), 2 * 2 * 4 * 82240);
}

TEST(MemoryPlan, SeveralBackendsOnOneMachineShareItsMemory) {
  const auto one = plan({}, training(64)), two = plan({}, training(64), "cpu:scalar,cpu:scalar");
  ASSERT_EQ(two.size(), 1u);
  EXPECT_EQ(part(two[0], "text"), 2000);
  EXPECT_EQ(part(two[0], "states"), part(one[0], "states"));
  EXPECT_EQ(part(two[0], "weights"), part(one[0], "weights") + 3 * 82240) << "each has its own";
}

TEST(MemoryPlan, RefusesWhatDoesNotFitWithTheNumbers) {
  MemoryPlan p = plan(64, 1024);
  p.available_bytes = p.total();
  EXPECT_TRUE(check_memory({p}).ok());
  MemoryPlan device{"cuda:0", 5'000'000, {{"weights", 4'000'000}, {"votes", 1'500'000}}};
  EXPECT_EQ(
      check_memory({p, device}).message(),
      "memory: cuda:0 about 5.5 MB (weights 4.0, votes 1.5) of 5 MB available: it does not fit; choose a "
      "smaller --dim, --layers or --population, --carry reset, more devices (--backend a,b) or --backend "
      "cpu");
  --p.available_bytes;
  const Status refused = check_memory({p});
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.message().find("memory: about"), 0u) << refused.message();
  EXPECT_NE(refused.message().find("--dim"), std::string::npos);
}

TEST(MemoryPlan, TheMachineHasSomeMemory) { EXPECT_GT(available_memory_bytes(), 1 << 20); }

}  // namespace
}  // namespace clutch
