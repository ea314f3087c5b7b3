#include "run/replay.h"

#include <fmt/format.h>

#include <limits>

#include "run/checkpoint.h"
#include "run/step.h"

namespace clutch {

Result<Recording> read_recording(const std::string& run) {
  auto config = read_config(run);
  if (!config.ok()) return config.status();
  CLUTCH_RETURN_IF_ERROR(resolve(config.value()));
  const auto saved = checkpoint_steps(run);  // before the log, which may be growing
  auto log = read_log(log_path(run));
  if (!log.ok()) return log.status();
  if (FitnessLog& read = log.value();
      read.damage.ok() && !saved.empty() && saved.back() > read.records.size()) {
    read.damage =
        fail(log_path(run),
             fmt::format("holds {} good steps, fewer than the last checkpoint's {}{}", read.records.size(),
                         saved.back(), read.torn.empty() ? "" : ": " + read.torn),
             "restore it; the steps it holds stay usable");
    read.torn.clear();
  }
  Recording recording{run, config.value(), model_config(config.value()), std::move(log).value(), ""};
  if (auto checkpoint = read_checkpoint_at_or_before(run, ~std::uint64_t{0} >> 1);
      checkpoint && checkpoint->ok()) {
    recording.corpus_digest = checkpoint->value().corpus_digest;
  }
  CLUTCH_RETURN_IF_ERROR(check_recording(recording));
  return recording;
}

Status check_recording(const Recording& recording) {
  const Population wanted = population(recording.config);
  const LogHeader& header = recording.log.header;
  if (header.pairs != wanted.pairs() || name(header.fitness) != recording.config.fitness) {
    return fail(recording.name,
                fmt::format("is of {} pairs and fitness {}, but config.json says {} and {}", header.pairs,
                            name(header.fitness), wanted.pairs(), recording.config.fitness),
                "restore the config.json that belongs to it");
  }
  return {};
}

namespace {

Status check_same_model(const Recording& recording, const ModelConfig& found, const std::string& name) {
  if (to_metadata(found) == to_metadata(recording.model_config)) return {};
  return fail(name, "holds another model than " + recording.name + " says",
              "restore the config.json that belongs to it");
}

}  // namespace

Result<Standpoint> nearest_standpoint(const Recording& recording, const Program& program,
                                      std::uint64_t step) {
  const RuleMemory start{optimiser(recording.config).rule, {}};
  if (auto checkpoint = read_checkpoint_at_or_before(recording.name, step)) {
    if (!checkpoint->ok()) return checkpoint->status();
    if (checkpoint->value().step > step) {
      return fail(
          "the checkpoint of " + recording.name,
          fmt::format("is of step {} under the name of step {} or before", checkpoint->value().step, step),
          "remove it");
    }
    CLUTCH_RETURN_IF_ERROR(
        check_same_model(recording, checkpoint->value().model_config, "the checkpoint of " + recording.name));
    if (checkpoint->value().memory.rule != start.rule) {
      return fail("the checkpoint of " + recording.name,
                  fmt::format("is of the rule '{}', but the configuration says '{}'",
                              exact::entry(checkpoint->value().memory.rule).name, recording.config.rule),
                  "restore the config.json that belongs to it");
    }
    return Standpoint{checkpoint->value().step, std::move(checkpoint->value().weights),
                      std::move(checkpoint->value().states), std::move(checkpoint->value().memory)};
  }
  if (recording.config.init.empty()) {
    return Standpoint{
        0, initial_weights(program, static_cast<std::uint64_t>(recording.config.seed)), {}, start};
  }
  auto model = load_model(recording.config.init);
  if (!model.ok()) return model.status();
  CLUTCH_RETURN_IF_ERROR(check_same_model(recording, model.value().config, recording.config.init));
  return Standpoint{0, std::move(model.value().weights), {}, start};
}

std::uint64_t next_standpoint(const Recording& recording, std::uint64_t step) {
  for (const std::uint64_t other : checkpoint_steps(recording.name)) {
    if (other > step) return other;
  }
  return std::numeric_limits<std::uint64_t>::max();
}

Status replay(const Recording& recording, const Program& program, const Standpoint& from, std::uint64_t to,
              Backend& backend, const ReplayProgress& progress) {
  const FitnessLog& log = recording.log;
  if (to > log.records.size()) {
    return fail(recording.name, fmt::format("its log holds {} steps, not {}", log.records.size(), to),
                log.damage.ok() ? "choose an earlier --to" : log.damage.message());
  }
  check(from.step <= to, "a replay goes forward");
  const std::uint64_t expected = from.step == 0 ? log.header.start_digest : log.records[from.step - 1].digest;
  const std::uint64_t found = digest(program, from.weights);
  if (found != expected) {
    return fail(recording.name,
                fmt::format("the weights at step {} have digest {:016x}, the log says {:016x}", from.step,
                            found, expected),
                "the start or the checkpoint is not the one the log was written from");
  }
  const Population members = population(recording.config);
  const Optimiser rule = optimiser(recording.config);
  CLUTCH_RETURN_IF_ERROR(backend.load(program, members.noise, from.weights, from.memory));
  for (std::uint64_t step = from.step; step < to; ++step) {
    auto updated = apply_step(backend, members, rule, step, log.records[step].fitness);
    if (!updated.ok()) return updated.status();
    if (updated.value().digest != log.records[step].digest) {
      return fail(recording.name,
                  fmt::format("after step {} the digest is {:016x}, the log says {:016x}", step + 1,
                              updated.value().digest, log.records[step].digest),
                  "the log or the configuration was changed, or a backend is wrong: try --backend reference");
    }
    progress(step + 1);
  }
  return {};
}

}  // namespace clutch
