#include "run/audit.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <numeric>

#include "exact/noise.h"
#include "run/checkpoint.h"
#include "run/step.h"

namespace clutch {
namespace {

// A contiguous run of pairs whose states are carried through the audit together.
struct Shard {
  std::uint32_t first_pair = 0, pairs = 0;
  std::uint64_t last_step = 0;  // needed up to here
  std::unique_ptr<States> states;

  bool has(std::uint32_t pair) const { return pair >= first_pair && pair - first_pair < pairs; }
};

class Auditor {
 public:
  Auditor(const Recording& recording, const Program& program, const Corpus& corpus, Backend& backend)
      : recording_(recording),
        program_(program),
        corpus_(corpus),
        backend_(backend),
        population_(population(recording.config)),
        optimiser_(optimiser(recording.config)),
        shape_(*fitness_shape(recording.config.fitness)),
        alone_(shape_ == FitnessShape::sign && population_.texts_per_pair == 1),
        reset_(recording.config.carry == "reset") {}

  // Samples that share a recorded point, in order of steps, from that point on.
  Status sweep(const Standpoint& from, const std::vector<AuditSample>& samples,
               const ReplayProgress& progress) {
    const auto& records = recording_.log.records;
    CLUTCH_RETURN_IF_ERROR(
        replay(recording_, program_, from, from.step, backend_, progress));  // loads, checks the digest
    auto shards = make_shards(samples, from);
    if (!shards.ok()) return shards.status();
    const std::uint64_t last = samples.back().step;
    auto next = samples.begin();
    for (std::uint64_t step = from.step; step <= last; ++step) {
      const auto end_of_step =
          std::find_if(next, samples.end(), [&](const AuditSample& sample) { return sample.step != step; });
      for (Shard& shard : shards.value()) {
        const bool sampled =
            std::any_of(next, end_of_step, [&](const AuditSample& sample) { return shard.has(sample.pair); });
        if (shard.last_step < step || (reset_ && !sampled)) continue;
        CLUTCH_RETURN_IF_ERROR(evaluate(shard, step, next, end_of_step));
      }
      next = end_of_step;
      auto updated = apply_step(backend_, population_, optimiser_, step, records[step].fitness);
      if (!updated.ok()) return updated.status();
      if (updated.value().digest != records[step].digest) {
        return fail(recording_.name,
                    fmt::format("after step {} the digest is {:016x}, the log says {:016x}", step + 1,
                                updated.value().digest, records[step].digest),
                    "the log was changed there, or was not written by this configuration");
      }
      progress(step + 1);
    }
    return {};
  }

  AuditResult result;

 private:
  using Samples = std::vector<AuditSample>::const_iterator;

  Result<std::vector<Shard>> make_shards(const std::vector<AuditSample>& samples, const Standpoint& from) {
    std::map<std::uint32_t, std::uint64_t> last_step;  // by pair
    for (const AuditSample& sample : samples)
      last_step[sample.pair] = std::max(last_step[sample.pair], sample.step);
    std::vector<Shard> shards;
    if (!alone_ || last_step.size() == population_.pairs()) {
      shards.push_back({0, population_.pairs(), samples.back().step, nullptr});
    } else {
      for (const auto& [pair, step] : last_step) shards.push_back({pair, 1, step, nullptr});
    }
    const std::int64_t width = program_.state_width();
    const auto wanted = static_cast<std::size_t>(population_.size * width);
    const bool zeros = from.states.empty() && (from.step == 0 || reset_);
    if (!zeros && (from.states.size() != wanted || std::find(from.states.begin(), from.states.end(),
                                                             std::int8_t{-128}) != from.states.end())) {
      return fail(
          recording_.name,
          fmt::format("the checkpoint of step {} holds {} values of member states, not {} in [-127, 127]",
                      from.step, from.states.size(), wanted),
          "remove that checkpoint");
    }
    for (Shard& shard : shards) {
      auto made = backend_.new_states(2 * shard.pairs);
      if (!made.ok()) return made.status();
      shard.states = std::move(made).value();
      if (from.states.empty()) continue;
      CLUTCH_RETURN_IF_ERROR(shard.states->write({from.states.data() + 2 * shard.first_pair * width,
                                                  static_cast<std::size_t>(2 * shard.pairs * width)}));
    }
    return shards;
  }

  Status evaluate(Shard& shard, std::uint64_t step, Samples first, Samples end) {
    const auto length = static_cast<std::uint32_t>(recording_.config.tokens_per_update);
    const StepText text = text_of_step(corpus_, population_, step, length, shard.first_pair, shard.pairs);
    std::vector<std::int64_t> losses(2 * shard.pairs);
    if (reset_) {
      CLUTCH_RETURN_IF_ERROR(
          shard.states->write(std::vector<std::int8_t>(losses.size() * program_.state_width())));
    }
    CLUTCH_RETURN_IF_ERROR(backend_.evaluate({.noise = noise_of_step(population_, step, shard.first_pair),
                                              .length = length,
                                              .text = text.text,
                                              .stream_of = text.stream_of,
                                              .states = shard.states.get()},
                                             {.losses = losses, .logits = {}}));
    result.evaluated_pairs += shard.pairs;
    if (shard.pairs == population_.pairs()) {
      const std::int64_t logged = recording_.log.records[step].loss,
                         found = std::accumulate(losses.begin(), losses.end(), std::int64_t{0});
      if (logged != found) result.losses.push_back({step, logged, found});
    }
    const auto fitness =
        fitness_of(shape_, alone_ ? losses : comparable(losses, population_), population_.group_pairs());
    for (; first != end; ++first) {
      if (!shard.has(first->pair)) continue;
      const int logged = recording_.log.records[step].fitness[first->pair],
                found = fitness[first->pair - shard.first_pair];
      ++result.compared;
      if (logged != found) result.findings.push_back({*first, logged, found});
    }
    return {};
  }

  const Recording& recording_;
  const Program& program_;
  const Corpus& corpus_;
  Backend& backend_;
  const Population population_;
  const Optimiser optimiser_;
  const FitnessShape shape_;
  const bool alone_;  // a pair's fitness is of its own losses alone
  const bool reset_;
};

}  // namespace

std::vector<AuditSample> draw_samples(const Recording& recording, std::uint64_t count, std::uint64_t seed) {
  std::vector<AuditSample> samples;
  const std::uint64_t steps = recording.log.records.size(), pairs = recording.log.header.pairs;
  for (std::uint64_t i = 0; i < count && steps > 0; ++i) {
    const exact::PhiloxBlock block = exact::noise_block(
        {.seed = seed, .pair = static_cast<std::uint32_t>(i >> 32), .role = exact::NoiseRole::kAudit},
        static_cast<std::uint32_t>(i));
    const std::uint64_t draw = block[0] | std::uint64_t{block[1]} << 32;
    samples.push_back({draw % steps, static_cast<std::uint32_t>(block[2] % pairs)});
  }
  return samples;
}

std::vector<AuditSample> all_samples(const Recording& recording) {
  std::vector<AuditSample> samples;
  for (std::uint64_t step = 0; step < recording.log.records.size(); ++step) {
    for (std::uint32_t pair = 0; pair < recording.log.header.pairs; ++pair) samples.push_back({step, pair});
  }
  return samples;
}

Result<AuditResult> audit(const Recording& recording, const Program& program, const Corpus& corpus,
                          std::vector<AuditSample> samples, Backend& backend,
                          const ReplayProgress& progress) {
  std::sort(samples.begin(), samples.end());
  samples.erase(std::unique(samples.begin(), samples.end()), samples.end());
  Auditor auditor(recording, program, corpus, backend);
  for (auto first = samples.begin(); first != samples.end();) {
    // The samples that the same recorded point serves best.
    auto from = nearest_standpoint(recording, program, first->step);
    if (!from.ok()) return from.status();
    const std::uint64_t until = next_standpoint(recording, from.value().step);
    const auto end =
        std::find_if(first, samples.end(), [&](const AuditSample& sample) { return sample.step >= until; });
    const Status swept = auditor.sweep(from.value(), {first, end}, progress);
    if (!auditor.result.findings.empty()) break;  // a wrong fitness also explains weights that do not follow
    if (!swept.ok()) return swept;
    first = end;
  }
  return std::move(auditor.result);
}

}  // namespace clutch
