// The guards themselves: each way of going wrong that they are there for is found.
#include "backend/guarded.h"

#include <gtest/gtest.h>

#include "backend/random_program.h"
#include "backend/reference/reference.h"
#include "parity/case.h"
#include "parity/trace.h"

namespace clutch::testing {
namespace {

enum class Misdeed {
  kNone,
  kWritesBeyondLosses,
  kWritesBeforeLogits,
  kLeavesALoss,
  kLeavesALogit,
  kChangesText,
  kChangesFitness
};

// The reference, which then does one thing that it must not.
class Misbehaving : public Backend {
 public:
  explicit Misbehaving(Misdeed misdeed) : misdeed_(misdeed), inner_(make_reference_backend()) {}
  std::string name() const override { return "misbehaving"; }
  Result<std::vector<MemoryPlan>> plan(const Program& p, const Workload& w) const override {
    return inner_->plan(p, w);
  }
  Status load(const Program& p, const NoiseShape& n, const Weights& w, const RuleMemory& m) override {
    return inner_->load(p, n, w, m);
  }
  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return inner_->new_states(members);
  }
  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    CLUTCH_RETURN_IF_ERROR(inner_->evaluate(request, result));
    if (misdeed_ == Misdeed::kWritesBeyondLosses) result.losses.data()[result.losses.size()] = 0;
    if (misdeed_ == Misdeed::kWritesBeforeLogits) result.logits.data()[-1] = 0;
    if (misdeed_ == Misdeed::kLeavesALoss) result.losses.back() = kPoisonLoss;
    if (misdeed_ == Misdeed::kLeavesALogit) result.logits.back() = kPoison;
    if (misdeed_ == Misdeed::kChangesText) const_cast<std::uint16_t&>(request.text.back()) ^= 1;
    return {};
  }
  Result<UpdateResult> update(const UpdateRequest& request) override {
    auto result = inner_->update(request);
    if (misdeed_ == Misdeed::kChangesFitness) const_cast<std::int8_t&>(request.fitness[0]) ^= 1;
    return result;
  }
  Status read_weights(Weights& out, RuleState* state) const override {
    return inner_->read_weights(out, state);
  }
  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    return inner_->trace(request, member, sink);
  }

 private:
  const Misdeed misdeed_;
  std::unique_ptr<Backend> inner_;
};

std::string complaint(Misdeed misdeed) {
  const parity::Case c = parity::random_case(1);
  const parity::Evaluation& evaluation = *c.steps[0].evaluation;
  const parity::Update& update = *c.steps[0].update;
  GuardedBackend guarded(std::make_unique<Misbehaving>(misdeed));
  EXPECT_TRUE(guarded.load(c.start.program, c.start.noise, c.start.weights, c.start.memory).ok());
  std::vector<std::int64_t> losses(c.start.members);
  std::vector<std::int8_t> logits(losses.size() * evaluation.length *
                                  static_cast<std::size_t>(c.start.program.vocab));
  const Status status =
      guarded.evaluate(parity::request_of(evaluation, nullptr), {.losses = losses, .logits = logits});
  if (!status.ok()) return status.message();
  const auto updated = guarded.update(
      {.noise = update.noise, .fitness = update.fitness, .matrix = update.matrix, .vector = update.vector});
  return updated.ok() ? "" : updated.status().message();
}

TEST(Guarded, FindsEveryMisdeed) {
  EXPECT_EQ(complaint(Misdeed::kNone), "");
  EXPECT_NE(complaint(Misdeed::kWritesBeyondLosses).find("beyond its losses"), std::string::npos);
  EXPECT_NE(complaint(Misdeed::kWritesBeforeLogits).find("beyond its logits"), std::string::npos);
  EXPECT_NE(complaint(Misdeed::kLeavesALoss).find("loss unwritten"), std::string::npos);
  EXPECT_NE(complaint(Misdeed::kLeavesALogit).find("logit unwritten"), std::string::npos);
  EXPECT_NE(complaint(Misdeed::kChangesText).find("text it was lent"), std::string::npos);
  EXPECT_NE(complaint(Misdeed::kChangesFitness).find("fitness it was lent"), std::string::npos);
}

}  // namespace
}  // namespace clutch::testing
