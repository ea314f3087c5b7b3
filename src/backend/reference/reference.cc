#include "backend/reference/reference.h"

#include <algorithm>
#include <utility>

#include "backend/host_states.h"
#include "backend/reference/interpreter.h"
#include "exact/arithmetic.h"
#include "exact/loss.h"

namespace clutch {
namespace reference {
namespace {

class ReferenceBackend : public Backend {
 public:
  std::string name() const override { return "reference"; }

  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    MemoryPlan plan{"", 0, host_parts(program, workload)};
    plan.parts.push_back({"work", 4 * program.parameters()});  // votes
    return std::vector<MemoryPlan>{plan};
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    auto bounds = verify(program, noise);
    if (!bounds.ok()) return bounds.status();
    program_ = &program;
    shape_ = noise;
    weights_ = weights;
    rule_ = memory.rule;
    rule_state_ = whole_rule_state(program, memory);
    return {};
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return std::unique_ptr<States>(std::make_unique<HostStates>(members, program_->state_width()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    const std::int64_t width = program_->state_width();
    std::vector<std::int8_t> fresh;  // where none are carried
    for (std::uint32_t m = 0; m < request.members(); ++m) {
      if (request.states == nullptr) fresh.assign(width, 0);
      std::int8_t* state = request.states == nullptr
                               ? fresh.data()
                               : static_cast<HostStates&>(*request.states).values.data() + m * width;
      std::int8_t* logits = result.logits.empty()
                                ? nullptr
                                : result.logits.data() + std::size_t{m} * request.length * program_->vocab;
      result.losses[m] = run_member(request, m, state, logits, nullptr);
    }
    return {};
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    check(request.matrix.rule == rule_ && request.vector.rule == rule_, "the update is of the rule loaded");
    std::vector<std::vector<std::int32_t>> votes;
    for (const TensorSpec& tensor : program_->tensors) votes.emplace_back(tensor.size());
    for (std::size_t p = 0; p < request.fitness.size(); ++p) {
      const auto factors = make_factors(*program_, shape_, request.noise, static_cast<std::uint32_t>(p));
      for (std::size_t t = 0; t < votes.size(); ++t) {
        add_votes(program_->tensors[t], shape_, factors[t], request.fitness[p], votes[t]);
      }
    }
    UpdateResult result;
    for (std::size_t t = 0; t < votes.size(); ++t) {
      const exact::RuleStep& step =
          program_->tensors[t].kind == TensorKind::kMatrix ? request.matrix : request.vector;
      for (std::size_t i = 0; i < votes[t].size(); ++i) {
        std::int32_t state[exact::kMaxRuleStates] = {};
        for (std::size_t k = 0; k < rule_state_.size(); ++k) state[k] = rule_state_[k][t][i];
        const auto next =
            static_cast<std::int8_t>(exact::apply_rule(rule_, step, votes[t][i], state, weights_[t][i]));
        for (std::size_t k = 0; k < rule_state_.size(); ++k) rule_state_[k][t][i] = state[k];
        result.moved += next != weights_[t][i];
        weights_[t][i] = next;
      }
    }
    result.digest = digest(*program_, weights_);
    return result;
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    out = weights_;
    if (state != nullptr) *state = rule_state_;
    return {};
  }

  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    const std::int64_t width = program_->state_width();
    std::vector<std::int8_t> copy(width);
    if (request.states != nullptr) {
      const auto& states = static_cast<HostStates&>(*request.states).values;
      std::copy_n(states.begin() + member * width, width, copy.begin());
    }
    run_member(request, member, copy.data(), nullptr, &sink);
    return {};
  }

 private:
  // Returns the member's loss over the window; state [state_width] is read and replaced.
  std::int64_t run_member(const EvaluateRequest& request, std::uint32_t member, std::int8_t* state,
                          std::int8_t* logits, const TraceSink* sink) const {
    std::vector<Factors> factors;
    if (request.noise) {
      factors = make_factors(*program_, shape_, *request.noise, request.noise->first_pair + member / 2);
    }
    const MemberView view{*program_, shape_, weights_, request.noise ? &factors : nullptr,
                          member % 2 == 0 ? 1 : -1};
    const std::uint16_t* text =
        request.text.data() + std::size_t{request.stream_of[member]} * (request.length + 1);
    Slots slots;
    for (const Slot& slot : program_->slots) slots.emplace_back(slot.width);
    const std::vector<std::int8_t*> caches = caches_by_instruction(state);

    std::int64_t loss = 0;
    for (std::uint32_t t = 0; t < request.length; ++t) {
      read_state(text[t], state, slots);
      const TokenView at{text[t], take_position(text[t], state), caches};
      for (std::size_t i = 0; i < program_->instructions.size(); ++i) {
        execute(view, static_cast<int>(i), at, slots);
        if (sink != nullptr) (*sink)(t, static_cast<std::uint32_t>(i), slots[program_->instructions[i].dst]);
      }
      write_state(slots, state);
      const std::vector<std::int8_t>& output = slots[program_->output];
      loss += exact::cross_entropy(output.data(), program_->vocab, text[t + 1]);
      if (logits != nullptr) std::copy(output.begin(), output.end(), logits + t * program_->vocab);
    }
    return loss;
  }

  // Input token 0 starts a document: its states are zero.
  void read_state(std::uint16_t token, const std::int8_t* state, Slots& slots) const {
    for (const State& s : program_->states) {
      const std::int64_t width = program_->slots[s.read].width;
      if (token == 0) {
        std::fill(slots[s.read].begin(), slots[s.read].end(), std::int8_t{0});
      } else {
        std::copy(state, state + width, slots[s.read].begin());
      }
      state += width;
    }
  }

  void write_state(const Slots& slots, std::int8_t* state) const {
    for (const State& s : program_->states)
      state = std::copy(slots[s.write].begin(), slots[s.write].end(), state);
  }

  // The place of a member's count of positions, which follows its other states.
  std::int8_t* count_of(std::int8_t* state) const {
    for (const State& s : program_->states) state += program_->slots[s.read].width;
    return state;
  }

  // The position of a token, counted.
  std::int64_t take_position(std::uint16_t token, std::int8_t* state) const {
    if (program_->window == 0) return 0;
    std::int8_t* count = count_of(state);
    const std::int64_t position = next_position(read_count(count, program_->window), token, program_->window);
    write_count(position + 1, count);
    return position;
  }

  std::vector<std::int8_t*> caches_by_instruction(std::int8_t* state) const {
    std::vector<std::int8_t*> caches(program_->instructions.size(), nullptr);
    if (program_->window == 0) return caches;
    std::int8_t* next = count_of(state) + kCountWidth;
    for (std::size_t i = 0; i < caches.size(); ++i) {
      if (program_->instructions[i].op != Op::attend) continue;
      caches[i] = next;
      next += 2 * program_->window * program_->slots[program_->instructions[i].dst].width;
    }
    return caches;
  }

  const Program* program_ = nullptr;
  NoiseShape shape_;
  Weights weights_;
  exact::Rule rule_ = exact::Rule::threshold;
  RuleState rule_state_;
};

}  // namespace
}  // namespace reference

std::unique_ptr<Backend> make_reference_backend() { return std::make_unique<reference::ReferenceBackend>(); }

}  // namespace clutch
