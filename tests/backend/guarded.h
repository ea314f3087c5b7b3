// A backend that is handed only buffers between guard bytes, at odd places, with outputs poisoned before:
// what writes too far, leaves a result out, or keeps what it was lent is found out. Weights travel in
// vectors, which are freed as soon as load() returns.
#pragma once

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace clutch::testing {

// `count` values between guards; the first lies at an address no rounder than its type asks for.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t count) : count_(count), bytes_(bytes_for(count), kGuardByte) {}
  explicit Guarded(std::span<const T> values) : Guarded(values.size()) {
    std::copy(values.begin(), values.end(), begin());
    before_.assign(values.begin(), values.end());
  }

  std::span<T> span() { return {begin(), count_}; }

  // Of a buffer that was only lent for reading.
  bool unchanged() { return intact() && std::equal(before_.begin(), before_.end(), begin()); }

  bool intact() const {
    const auto is_guard = [](std::uint8_t byte) { return byte == kGuardByte; };
    return std::all_of(bytes_.begin(), bytes_.begin() + kFront, is_guard) &&
           std::all_of(bytes_.end() - (2 * kGuard - kFront), bytes_.end(), is_guard);
  }

 private:
  static constexpr std::ptrdiff_t kGuard = 192, kFront = 64 + static_cast<std::ptrdiff_t>(sizeof(T));
  static constexpr std::uint8_t kGuardByte = 0xA5;
  static std::size_t bytes_for(std::size_t count) {
    check(count < std::size_t{1} << 40, "a buffer fits this machine");
    return 2 * kGuard + count * sizeof(T);
  }
  T* begin() { return reinterpret_cast<T*>(bytes_.data() + kFront); }
  std::size_t count_;
  std::vector<std::uint8_t> bytes_;
  std::vector<T> before_;
};

// Values that no backend may compute: what is still there afterwards was never written.
constexpr std::int8_t kPoison = -128;
constexpr std::int64_t kPoisonLoss = INT64_MIN;

template <class T>
bool has(std::span<const T> values, T value) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

class GuardedStates : public States {
 public:
  explicit GuardedStates(std::unique_ptr<States> the_inner) : inner(std::move(the_inner)) {}
  Status read(std::span<std::int8_t> out) const override {
    Guarded<std::int8_t> buffer(out.size());
    std::ranges::fill(buffer.span(), kPoison);
    const Status status = inner->read(buffer.span());
    check(buffer.intact(), "reading states stays within the buffer");
    std::ranges::copy(buffer.span(), out.begin());
    return status;
  }
  Status write(std::span<const std::int8_t> in) override {
    Guarded<std::int8_t> buffer(in);
    const Status status = inner->write(buffer.span());
    check(buffer.unchanged(), "writing states leaves the buffer as it was");
    return status;
  }
  std::unique_ptr<States> inner;
};

class GuardedBackend : public Backend {
 public:
  explicit GuardedBackend(std::unique_ptr<Backend> inner) : inner_(std::move(inner)) {}

  std::string name() const override { return inner_->name(); }
  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    return inner_->plan(program, workload);
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    auto lent = std::make_unique<Weights>(weights);
    auto remembered = std::make_unique<RuleMemory>(memory);
    const Status status = inner_->load(program, noise, *lent, *remembered);
    for (auto& tensor : *lent) std::ranges::fill(tensor, kPoison);
    return status;
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    auto states = inner_->new_states(members);
    if (!states.ok()) return states.status();
    return std::unique_ptr<States>(std::make_unique<GuardedStates>(std::move(states).value()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    Lent lent(request);
    Guarded<std::int64_t> losses(result.losses.size());
    Guarded<std::int8_t> logits(result.logits.size());
    std::ranges::fill(losses.span(), kPoisonLoss);
    std::ranges::fill(logits.span(), kPoison);
    CLUTCH_RETURN_IF_ERROR(inner_->evaluate(
        lent.request, {.losses = losses.span(),
                       .logits = result.logits.empty() ? std::span<std::int8_t>() : logits.span()}));
    CLUTCH_RETURN_IF_ERROR(lent.check_unchanged(name()));
    if (!losses.intact()) return wrong("evaluate() writes beyond its losses");
    if (!logits.intact()) return wrong("evaluate() writes beyond its logits");
    if (has<std::int64_t>(losses.span(), kPoisonLoss)) return wrong("evaluate() leaves a loss unwritten");
    if (has<std::int8_t>(logits.span(), kPoison)) return wrong("evaluate() leaves a logit unwritten");
    std::ranges::copy(losses.span(), result.losses.begin());
    std::ranges::copy(logits.span(), result.logits.begin());
    return {};
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    Guarded<std::int8_t> fitness(request.fitness);
    UpdateRequest guarded = request;
    guarded.fitness = fitness.span();
    auto result = inner_->update(guarded);
    if (result.ok() && !fitness.unchanged()) return wrong("update() changes the fitness it was lent");
    return result;
  }

  // What was there before, of other sizes, must be gone.
  Status read_weights(Weights& out, RuleState* state) const override {
    out.assign(3, std::vector<std::int8_t>(5, kPoison));
    if (state != nullptr) state->assign(7, Words(2));
    return inner_->read_weights(out, state);
  }

  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    Lent lent(request);
    CLUTCH_RETURN_IF_ERROR(inner_->trace(lent.request, member, sink));
    return lent.check_unchanged(name());
  }

 private:
  // A request on guarded copies.
  struct Lent {
    explicit Lent(const EvaluateRequest& asked)
        : text(asked.text), stream_of(asked.stream_of), request(asked) {
      request.text = text.span();
      request.stream_of = stream_of.span();
      if (asked.states != nullptr) request.states = static_cast<GuardedStates&>(*asked.states).inner.get();
    }
    Status check_unchanged(const std::string& name) {
      if (text.unchanged() && stream_of.unchanged()) return {};
      return fail(name, "changes the text it was lent", "find the store that goes too far");
    }
    Guarded<std::uint16_t> text;
    Guarded<std::uint32_t> stream_of;
    EvaluateRequest request;
  };
  Status wrong(const char* problem) const { return fail(name(), problem, "find the store that goes wrong"); }

  std::unique_ptr<Backend> inner_;
};

}  // namespace clutch::testing
