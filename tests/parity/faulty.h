// A backend that is the reference but for one number: an element of one instruction's result at one token of
// one member, wrong in evaluate() and trace() alike, or a weight after the update of one step.
#pragma once

#include <optional>
#include <vector>

#include "backend/host_states.h"
#include "backend/reference/interpreter.h"
#include "backend/reference/reference.h"
#include "exact/loss.h"

namespace clutch::testing {

struct Fault {
  // Of an evaluation's instruction. Members are counted by pair and sign, so that a part of the population
  // shows it too; tokens from the start of the evaluation numbered `evaluation` (from 0; -1: of each).
  struct Place {
    std::uint32_t pair = 0, sign = 0, token = 0;
    int instruction = 0;
    std::int64_t element = 0;
    int evaluation = -1;
  };
  std::optional<Place> result;
  // Of the weight, after the update numbered `at`.
  struct Weight {
    int tensor = 0;
    std::int64_t element = 0;
    int at = 0;
  };
  std::optional<Weight> weight;
  bool loss = false;   // the first member's loss is one too much
  bool trace = false;  // trace() alone is wrong, in its first number
};

class FaultyBackend : public Backend {
 public:
  explicit FaultyBackend(Fault fault) : fault_(fault), inner_(make_reference_backend()) {}

  std::string name() const override { return "faulty"; }
  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    return inner_->plan(program, workload);
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    program_ = &program;
    shape_ = noise;
    weights_ = weights;
    rule_ = memory.rule;
    return inner_->load(program, noise, weights, memory);
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    return std::unique_ptr<States>(std::make_unique<HostStates>(members, program_->state_width()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    const auto width = static_cast<std::size_t>(program_->state_width());
    for (std::uint32_t m = 0; m < request.members(); ++m) {
      std::vector<std::int8_t> state(width);
      if (request.states != nullptr) state = row(*request.states, m);
      result.losses[m] = run(request, m, state.data(), result.logits, {});
      if (request.states != nullptr)
        std::copy(state.begin(), state.end(),
                  static_cast<HostStates&>(*request.states).values.begin() + m * width);
    }
    if (fault_.loss) ++result.losses[0];
    ++evaluations_;
    return {};
  }

  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    std::vector<std::int8_t> state(static_cast<std::size_t>(program_->state_width()));
    if (request.states != nullptr) state = row(*request.states, member);
    run(request, member, state.data(), {}, sink);
    return {};
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    auto result = inner_->update(request);
    if (!result.ok()) return result;
    RuleState state;
    CLUTCH_RETURN_IF_ERROR(inner_->read_weights(weights_, &state));
    if (fault_.weight && updates_++ == fault_.weight->at) {
      std::int8_t& weight = weights_[fault_.weight->tensor][fault_.weight->element];
      weight = static_cast<std::int8_t>(weight == 127 ? 126 : weight + 1);
      CLUTCH_RETURN_IF_ERROR(inner_->load(*program_, shape_, weights_, {rule_, state}));
      result.value().digest = digest(*program_, weights_);
    }
    return result;
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    return inner_->read_weights(out, state);
  }

 private:
  std::vector<std::int8_t> row(States& states, std::uint32_t member) const {
    const auto& values = static_cast<HostStates&>(states).values;
    const auto width = static_cast<std::ptrdiff_t>(program_->state_width());
    return {values.begin() + member * width, values.begin() + (member + 1) * width};
  }

  bool is_here(const EvaluateRequest& request, std::uint32_t member, std::uint32_t token,
               int instruction) const {
    if (!fault_.result) return false;
    const Fault::Place& at = *fault_.result;
    const std::uint32_t first = request.noise ? request.noise->first_pair : 0;
    return (at.evaluation < 0 || at.evaluation <= evaluations_) && first + member / 2 == at.pair &&
           member % 2 == at.sign && token == at.token && instruction == at.instruction;
  }

  // As the reference has it; `state` is read and replaced.
  std::int64_t run(const EvaluateRequest& request, std::uint32_t member, std::int8_t* state,
                   std::span<std::int8_t> logits, const TraceSink& sink) const {
    std::vector<reference::Factors> factors;
    if (request.noise)
      factors =
          reference::make_factors(*program_, shape_, *request.noise, request.noise->first_pair + member / 2);
    const reference::MemberView view{*program_, shape_, weights_, request.noise ? &factors : nullptr,
                                     member % 2 == 0 ? 1 : -1};
    const std::uint16_t* text =
        request.text.data() + std::size_t{request.stream_of[member]} * (request.length + 1);
    reference::Slots slots;
    for (const Slot& slot : program_->slots) slots.emplace_back(slot.width);
    std::int8_t* count = state;
    for (const State& s : program_->states) count += program_->slots[s.read].width;
    const auto caches = caches_of(count + kCountWidth);
    std::int64_t loss = 0;
    for (std::uint32_t t = 0; t < request.length; ++t) {
      const std::int8_t* from = state;
      for (const State& s : program_->states) {
        for (std::int8_t& value : slots[s.read]) value = text[t] == 0 ? std::int8_t{0} : *from++;
        if (text[t] == 0) from += program_->slots[s.read].width;
      }
      reference::TokenView at{text[t], 0, caches};
      if (program_->window > 0) {
        at.position = next_position(read_count(count, program_->window), text[t], program_->window);
        write_count(at.position + 1, count);
      }
      for (int i = 0; i < static_cast<int>(program_->instructions.size()); ++i) {
        reference::execute(view, i, at, slots);
        auto& out = slots[program_->instructions[i].dst];
        if (is_here(request, member, t, i))
          out[fault_.result->element] = out[fault_.result->element] > 0 ? -99 : 99;
        auto shown = out;
        if (fault_.trace && t == 0 && i == 0) shown[0] = static_cast<std::int8_t>(shown[0] == 5 ? 6 : 5);
        if (sink) sink(t, static_cast<std::uint32_t>(i), shown);
      }
      std::int8_t* to = state;
      for (const State& s : program_->states)
        to = std::copy(slots[s.write].begin(), slots[s.write].end(), to);
      const auto& output = slots[program_->output];
      loss += exact::cross_entropy(output.data(), program_->vocab, text[t + 1]);
      if (!logits.empty())
        std::copy(output.begin(), output.end(),
                  logits.data() + (std::size_t{member} * request.length + t) * program_->vocab);
    }
    return loss;
  }

  std::vector<std::int8_t*> caches_of(std::int8_t* next) const {
    std::vector<std::int8_t*> caches(program_->instructions.size(), nullptr);
    for (std::size_t i = 0; i < caches.size(); ++i) {
      if (program_->instructions[i].op != Op::attend) continue;
      caches[i] = next;
      next += 2 * program_->window * program_->slots[program_->instructions[i].dst].width;
    }
    return caches;
  }

  const Fault fault_;
  std::unique_ptr<Backend> inner_;
  const Program* program_ = nullptr;
  NoiseShape shape_;
  Weights weights_;
  exact::Rule rule_ = exact::Rule::threshold;
  int evaluations_ = 0, updates_ = 0;
};

}  // namespace clutch::testing
