#include "backend/several.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <thread>

#include "base/check.h"

namespace clutch {
namespace {

// Members [first, first + count).
struct Share {
  std::uint32_t first, count;
};

// Of part `part` of `parts`: whole pairs.
Share share_of(std::uint32_t members, std::size_t part, std::size_t parts) {
  const std::uint64_t pairs = (std::uint64_t{members} + 1) / 2;
  const auto bound = [&](std::size_t i) {
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(members, 2 * (pairs * i / parts)));
  };
  return {bound(part), bound(part + 1) - bound(part)};
}

class SeveralStates : public States {
 public:
  SeveralStates(std::vector<std::unique_ptr<States>> states, std::uint32_t members, std::int64_t width)
      : parts(std::move(states)), members_(members), width_(static_cast<std::size_t>(width)) {}
  Status read(std::span<std::int8_t> out) const override {
    check_equal(out.size(), members_ * width_, "states to read");
    for (std::size_t i = 0; i < parts.size(); ++i) CLUTCH_RETURN_IF_ERROR(parts[i]->read(part_of(out, i)));
    return {};
  }
  Status write(std::span<const std::int8_t> in) override {
    check_equal(in.size(), members_ * width_, "states to write");
    for (std::size_t i = 0; i < parts.size(); ++i) CLUTCH_RETURN_IF_ERROR(parts[i]->write(part_of(in, i)));
    return {};
  }
  const std::vector<std::unique_ptr<States>> parts;  // one per backend

 private:
  template <class T>
  std::span<T> part_of(std::span<T> all, std::size_t i) const {
    const Share share = share_of(members_, i, parts.size());
    return all.subspan(share.first * width_, share.count * width_);
  }
  const std::uint32_t members_;
  const std::size_t width_;
};

class SeveralBackends : public Backend {
 public:
  explicit SeveralBackends(std::vector<std::unique_ptr<Backend>> parts) : parts_(std::move(parts)) {
    check(!parts_.empty(), "several backends are at least one");
  }

  std::string name() const override {
    std::string all;
    for (const auto& part : parts_) all += (all.empty() ? "" : ",") + part->name();
    return all;
  }

  // Those of the parts, each with its share of the members; of one memory there may be several.
  Result<std::vector<MemoryPlan>> plan(const Program& program, const Workload& workload) const override {
    std::vector<MemoryPlan> all;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      Workload share = workload;
      share.members = share_of(workload.members, i, parts_.size()).count;
      auto plans = parts_[i]->plan(program, share);
      if (!plans.ok()) return plans.status();
      all.insert(all.end(), plans.value().begin(), plans.value().end());
    }
    return all;
  }

  Status load(const Program& program, const NoiseShape& noise, const Weights& weights,
              const RuleMemory& memory) override {
    program_ = &program;
    return for_all([&](std::size_t i) { return parts_[i]->load(program, noise, weights, memory); });
  }

  Result<std::unique_ptr<States>> new_states(std::uint32_t members) override {
    std::vector<std::unique_ptr<States>> states;
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      auto made = parts_[i]->new_states(share_of(members, i, parts_.size()).count);
      if (!made.ok()) return made.status();
      states.push_back(std::move(made).value());
    }
    return std::unique_ptr<States>(
        std::make_unique<SeveralStates>(std::move(states), members, program_->state_width()));
  }

  Status do_evaluate(const EvaluateRequest& request, const EvaluateResult& result) override {
    return for_all([&](std::size_t i) -> Status {
      const Share share = share_of(request.members(), i, parts_.size());
      if (share.count == 0) return {};
      EvaluateResult part{.losses = result.losses.subspan(share.first, share.count), .logits = {}};
      if (!result.logits.empty()) {
        const std::size_t member = std::size_t{request.length} * static_cast<std::size_t>(program_->vocab);
        part.logits = result.logits.subspan(share.first * member, share.count * member);
      }
      return parts_[i]->evaluate(part_of(request, i), part);
    });
  }

  Result<UpdateResult> update(const UpdateRequest& request) override {
    std::vector<UpdateResult> results(parts_.size());
    CLUTCH_RETURN_IF_ERROR(for_all([&](std::size_t i) -> Status {
      auto result = parts_[i]->update(request);
      if (result.ok()) results[i] = result.value();
      return result.status();
    }));
    for (std::size_t i = 1; i < parts_.size(); ++i) {
      if (results[i].digest == results[0].digest) continue;
      return fail(parts_[i]->name(),
                  fmt::format("its weights have digest {:016x}, those of {} {:016x}", results[i].digest,
                              parts_[0]->name(), results[0].digest),
                  "one of the two computes wrongly: compare each with --backend reference");
    }
    return results[0];
  }

  Status read_weights(Weights& out, RuleState* state) const override {
    return parts_[0]->read_weights(out, state);
  }

  Status trace(const EvaluateRequest& request, std::uint32_t member, const TraceSink& sink) override {
    for (std::size_t i = 0; i < parts_.size(); ++i) {
      const Share share = share_of(request.members(), i, parts_.size());
      if (member < share.first + share.count)
        return parts_[i]->trace(part_of(request, i), member - share.first, sink);
    }
    check_failed("the member to trace is one of the request's", std::to_string(member));
  }

 private:
  // What of a request falls to part `i`. The text is whole, since streams are numbered in it.
  EvaluateRequest part_of(const EvaluateRequest& request, std::size_t i) const {
    const Share share = share_of(request.members(), i, parts_.size());
    EvaluateRequest part = request;
    if (part.noise) part.noise->first_pair += share.first / 2;
    part.stream_of = request.stream_of.subspan(share.first, share.count);
    if (request.states != nullptr) part.states = static_cast<SeveralStates*>(request.states)->parts[i].get();
    return part;
  }

  // work(part) of every part at the same time; the first failure.
  Status for_all(const std::function<Status(std::size_t)>& work) const {
    std::vector<Status> statuses(parts_.size());
    std::vector<std::thread> threads;
    for (std::size_t i = 1; i < parts_.size(); ++i) threads.emplace_back([&, i] { statuses[i] = work(i); });
    statuses[0] = work(0);
    for (std::thread& thread : threads) thread.join();
    for (const Status& status : statuses) CLUTCH_RETURN_IF_ERROR(status);
    return {};
  }

  const std::vector<std::unique_ptr<Backend>> parts_;
  const Program* program_ = nullptr;
};

}  // namespace

std::unique_ptr<Backend> make_several_backends(std::vector<std::unique_ptr<Backend>> parts) {
  return std::make_unique<SeveralBackends>(std::move(parts));
}

}  // namespace clutch
