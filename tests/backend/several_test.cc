// Several backends as one, beyond what conformance covers: odd and few members, parts that fail, and parts
// that disagree.
#include "backend/several.h"

#include <gtest/gtest.h>

#include "backend/random_program.h"
#include "backend/reference/reference.h"
#include "backend/select.h"

namespace clutch {
namespace {

using testing::Random;

// The reference, but for what a test spoils.
class Spoilt : public Backend {
 public:
  std::string name() const override { return "spoilt"; }
  Result<std::vector<MemoryPlan>> plan(const Program&, const Workload& workload) const override {
    if (declines) return fail("spoilt", "declines", "ask another");
    return std::vector<MemoryPlan>{{"spoilt", 100, {{"members", workload.members}}}};
  }
  Status load(const Program& p, const NoiseShape& n, const Weights& w, const RuleMemory& m) override {
    return base_->load(p, n, w, m);
  }
  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return base_->new_states(members);
  }
  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    evaluated = request.members();
    return lost ? fail("spoilt", "is lost", "go on without it") : base_->evaluate(request, result);
  }
  Result<UpdateResult> update(const UpdateRequest& request) override {
    auto result = base_->update(request);
    if (result.ok()) result.value().digest += disagrees;
    return result;
  }
  Status read_weights(Weights& out, RuleState* state) const override {
    return base_->read_weights(out, state);
  }
  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    return base_->trace(request, member, sink);
  }
  bool declines = false, lost = false, disagrees = false;
  std::uint32_t evaluated = 0;

 private:
  std::unique_ptr<Backend> base_ = make_reference_backend();
};

struct Pair {
  Pair() {
    std::vector<std::unique_ptr<Backend>> parts;
    parts.push_back(make_reference_backend());
    auto second = std::make_unique<Spoilt>();
    spoilt = second.get();
    parts.push_back(std::move(second));
    backend = make_several_backends(std::move(parts));
    Random random(8);
    program = testing::random_program(random, 9);
    EXPECT_TRUE(backend->load(program, {}, testing::random_weights(random, program)).ok());
  }
  Program program;
  Spoilt* spoilt;
  std::unique_ptr<Backend> backend;
};

std::vector<std::int64_t> losses(Backend& backend, std::uint32_t members, bool noisy) {
  std::vector<std::uint16_t> text(6 * 5);
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<std::uint16_t>(i * i % 9);
  std::vector<std::uint32_t> stream_of;
  for (std::uint32_t m = 0; m < members; ++m) stream_of.push_back(m % 5);
  EvaluateRequest request{.noise = {}, .length = 5, .text = text, .stream_of = stream_of, .states = nullptr};
  if (noisy) request.noise = NoiseSource{.seed = 2, .epoch = 1, .first_pair = 3};
  const auto states = backend.new_states(members).value();
  request.states = states.get();
  std::vector<std::int64_t> all(members);
  EXPECT_TRUE(backend.evaluate(request, {.losses = all, .logits = {}}).ok());
  return all;
}

TEST(Several, OddAndFewMembersAreDealtOut) {
  Pair pair;
  auto alone = make_reference_backend();
  Weights weights;
  ASSERT_TRUE(pair.backend->read_weights(weights).ok());
  ASSERT_TRUE(alone->load(pair.program, {}, weights).ok());
  for (const std::uint32_t members : {1u, 2u, 3u, 5u, 7u})
    EXPECT_EQ(losses(*pair.backend, members, false), losses(*alone, members, false)) << members;
  for (const std::uint32_t members : {2u, 4u, 10u})
    EXPECT_EQ(losses(*pair.backend, members, true), losses(*alone, members, true)) << members;
  EXPECT_EQ(pair.spoilt->evaluated, 6u) << "five pairs are two and three";
}

TEST(Several, AFailureOfAPartIsTheFailure) {
  Pair pair;
  pair.spoilt->lost = true;
  std::vector<std::uint16_t> text(4);
  const std::vector<std::uint32_t> stream_of(4, 0);
  std::vector<std::int64_t> all(4);
  const Status status = pair.backend->evaluate(
      {.noise = {}, .length = 3, .text = text, .stream_of = stream_of, .states = nullptr},
      {.losses = all, .logits = {}});
  EXPECT_EQ(status.message(), "spoilt: is lost; go on without it");
  pair.spoilt->declines = true;
  EXPECT_FALSE(pair.backend->supports(pair.program, {}).ok());
}

TEST(Several, MemoryIsPlannedByPart) {
  const Pair pair;
  const auto plans = pair.backend->plan(pair.program, {.members = 10, .pairs = 5}).value();
  ASSERT_EQ(plans.size(), 2u);
  EXPECT_EQ(plans[0].place, "");
  EXPECT_EQ(plans[1].place, "spoilt");
  EXPECT_EQ(plans[1].total(), 6) << "five pairs are two and three";
}

TEST(Several, PartsThatDisagreeAreNamed) {
  Pair pair;
  const std::vector<std::int8_t> fitness(3, 1);
  EXPECT_TRUE(pair.backend->update({.noise = {}, .fitness = fitness, .matrix = {}, .vector = {}}).ok());
  pair.spoilt->disagrees = true;
  const auto result = pair.backend->update({.noise = {}, .fitness = fitness, .matrix = {}, .vector = {}});
  ASSERT_FALSE(result.ok());
  for (const char* part : {"spoilt", "reference", "digest"})
    EXPECT_NE(result.status().message().find(part), std::string::npos) << result.status().message();
}

TEST(Several, EveryNameOfAListIsChecked) {
  EXPECT_EQ(make_backend("cpu:scalar,reference", 1).value()->name(), "cpu:scalar,reference");
  for (const char* name : {"cpu:scalar,", ",cpu", "cpu,nobody", "cpu,,cpu"})
    EXPECT_FALSE(make_backend(name, 1).ok()) << name;
}

}  // namespace
}  // namespace clutch
