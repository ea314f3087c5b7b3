#include "backend/null/null.h"

#include <algorithm>

#include "backend/host_states.h"
#include "exact/digest.h"
#include "exact/loss.h"

namespace clutch {
namespace {

// Of a token, between 0 and 16 bits in units of 2^-20 bit; 8 bits without noise.
std::int64_t token_loss(const std::optional<NoiseSource>& noise, std::uint32_t member) {
  constexpr std::uint64_t kRange = std::uint64_t{16} << exact::kLossFractionBits;
  if (!noise) return kRange / 2;
  const std::uint64_t pair = noise->first_pair + member / 2, sign = member % 2;
  const std::uint64_t place = std::uint64_t{noise->epoch} << 32 | pair;
  return static_cast<std::int64_t>(exact::mix64(exact::mix64(exact::mix64(noise->seed) ^ place) + sign) %
                                   kRange);
}

class NullBackend : public Backend {
 public:
  std::string name() const override { return "null"; }

  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    return std::vector<MemoryPlan>{{"", 0, host_parts(program, workload)}};
  }

  Status load(const Program& program, const NoiseShape&, const Weights& weights,
              const RuleMemory& memory) override {
    program_ = &program;
    weights_ = weights;
    rule_state_ = whole_rule_state(program, memory);
    return {};
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return std::unique_ptr<States>(std::make_unique<HostStates>(members, program_->state_width()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    for (std::uint32_t m = 0; m < request.members(); ++m)
      result.losses[m] = token_loss(request.noise, m) * request.length;
    std::fill(result.logits.begin(), result.logits.end(), std::int8_t{0});
    return {};
  }

  Result<UpdateResult> update(const UpdateRequest&) override {
    return UpdateResult{.moved = 0, .digest = digest(*program_, weights_)};
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    out = weights_;
    if (state != nullptr) *state = rule_state_;
    return {};
  }

  // Every slot is zeros.
  Status trace(const EvaluateRequest& request, std::uint32_t, const TraceSink& sink) override {
    for (std::uint32_t t = 0; t < request.length; ++t) {
      for (std::uint32_t i = 0; i < program_->instructions.size(); ++i) {
        const std::vector<std::int8_t> zeros(program_->slots[program_->instructions[i].dst].width);
        sink(t, i, zeros);
      }
    }
    return {};
  }

 private:
  const Program* program_ = nullptr;
  Weights weights_;
  RuleState rule_state_;
};

}  // namespace

std::unique_ptr<Backend> make_null_backend() { return std::make_unique<NullBackend>(); }

}  // namespace clutch
