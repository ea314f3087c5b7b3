#include "run/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <numeric>

#include "backend/select.h"
#include "exact/loss.h"
#include "exact/version.h"
#include "generate/generator.h"
#include "generate/text.h"
#include "run/evaluate.h"
#include "run/step.h"
#include "run/text.h"

namespace clutch {
namespace {

constexpr std::uint32_t kValidationStreams = 64;
constexpr int kSampleTokens = 200;

std::string digest_text(std::uint64_t digest) { return fmt::format("{:016x}", digest); }

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Result<std::unique_ptr<Trainer>> Trainer::prepare(RunConfig config) {
  auto trainer = std::unique_ptr<Trainer>(new Trainer());
  CLUTCH_RETURN_IF_ERROR(resolve(config));
  trainer->config_ = config;
  trainer->population_ = population(config);
  trainer->alpha_ = alpha_schedule(config);
  trainer->fitness_ = *fitness_shape(config.fitness);
  const int threads = config.threads == 0 ? default_threads() : static_cast<int>(config.threads);
  auto backend = make_backend(config.backend, threads);
  if (!backend.ok()) return backend.status();
  trainer->backend_ = std::move(backend).value();
  auto text = load_training_text(config);
  if (!text.ok()) return text.status();
  trainer->train_ = std::move(text.value().train);
  trainer->valid_ = std::move(text.value().held_out);
  return trainer;
}

Result<std::unique_ptr<Trainer>> Trainer::create(const std::string& run, RunConfig config) {
  std::optional<Model> start;
  if (!config.init.empty()) {
    auto model = clutch::load_model(config.init);
    if (!model.ok()) return model.status();
    const ModelConfig& brought = model.value().config;
    config.arch = brought.arch, config.dialect = brought.dialect, config.activation = brought.activation;
    config.dim = brought.dim, config.layers = brought.layers, config.vocab = brought.vocab;
    start = std::move(model).value();
  }
  auto prepared = prepare(std::move(config));
  if (!prepared.ok()) return prepared.status();
  Trainer& trainer = *prepared.value();
  trainer.run_ = run;
  CLUTCH_RETURN_IF_ERROR(trainer.load_model(start ? start->weights : Weights(), {}));
  CLUTCH_RETURN_IF_ERROR(create_run(run, trainer.config_));
  CLUTCH_RETURN_IF_ERROR(trainer.new_log(trainer.start_digest_));
  // A resume from before the first checkpoint would need the initial model again.
  if (start) CLUTCH_RETURN_IF_ERROR(trainer.save());
  return prepared;
}

Result<std::unique_ptr<Trainer>> Trainer::resume(const std::string& run, RunConfig config) {
  auto prepared = prepare(std::move(config));
  if (!prepared.ok()) return prepared.status();
  Trainer& trainer = *prepared.value();
  trainer.run_ = run;
  Checkpoint checkpoint;
  if (has_checkpoint(run)) {
    auto read = read_last_checkpoint(run);
    if (!read.ok()) return read.status();
    checkpoint = std::move(read).value();
    if (checkpoint.corpus_digest != digest_text(trainer.train_.digest)) {
      return fail("--data",
                  fmt::format("the text has digest {}, but {} was trained on {}",
                              digest_text(trainer.train_.digest), run, checkpoint.corpus_digest),
                  "restore the text as it was, or start a new run with --init " + run);
    }
    trainer.step_ = trainer.saved_step_ = checkpoint.step;
    trainer.seconds_ = checkpoint.seconds;
  }
  CLUTCH_RETURN_IF_ERROR(trainer.load_model(checkpoint.weights, checkpoint.states));
  CLUTCH_RETURN_IF_ERROR(trainer.open_log(trainer.start_digest_));
  CLUTCH_RETURN_IF_ERROR(cut_metrics(run, trainer.step_));
  CLUTCH_RETURN_IF_ERROR(write_config(run, trainer.config_));
  return prepared;
}

// Makes the program resident; empty weights stand for the seed's initial ones, empty states for zeros.
Status Trainer::load_model(const Weights& weights, const std::vector<std::int8_t>& states) {
  model_config_ = clutch::model_config(config_);
  auto program = build_program(model_config_, population_.noise);
  if (!program.ok()) return program.status();
  program_ = std::move(program).value();
  CLUTCH_RETURN_IF_ERROR(backend_->supports(program_, population_.noise));
  const Weights initial = weights.empty() ? initial_weights(program_, population_.seed) : weights;
  start_digest_ = digest(program_, initial);
  CLUTCH_RETURN_IF_ERROR(backend_->load(program_, population_.noise, initial));
  auto made = backend_->new_states(population_.size);
  if (!made.ok()) return made.status();
  states_ = std::move(made).value();
  if (states.empty() && (step_ == 0 || config_.carry == "reset")) return {};
  const std::size_t wanted = population_.size * static_cast<std::size_t>(program_.state_width());
  if (states.size() != wanted || std::find(states.begin(), states.end(), std::int8_t{-128}) != states.end()) {
    return fail(
        run_,
        fmt::format("its member states are damaged: {} values, not {} in [-127, 127]", states.size(), wanted),
        "remove the last checkpoint to go on from the one before");
  }
  states_->write(states);
  return {};
}

Result<StepReport> Trainer::run_step() {
  const auto length = static_cast<std::uint32_t>(config_.tokens_per_update);
  const StepText text = text_of_step(train_, population_, step_, length, 0, population_.pairs());
  if (config_.carry == "reset") reset_states();
  std::vector<std::int64_t> losses(population_.size);
  const NoiseSource noise = noise_of_step(population_, step_);
  CLUTCH_RETURN_IF_ERROR(backend_->evaluate(
      {.noise = noise, .length = length, .text = text.text, .stream_of = text.stream_of, .states = states_.get()},
      {.losses = losses, .logits = {}}));

  const std::vector<std::int8_t> fitness = fitness_of(fitness_, losses);
  auto updated = apply_step(*backend_, population_, alpha_, step_, fitness);
  if (!updated.ok()) return updated.status();
  const auto loss = std::accumulate(losses.begin(), losses.end(), std::int64_t{0});
  CLUTCH_RETURN_IF_ERROR(record({step_, loss, updated.value().digest, fitness}));
  ++step_;

  const std::uint64_t tokens = std::uint64_t{population_.size} * length;
  return StepReport{
      .step = step_,
      .evaluated_tokens = step_ * tokens,
      .bits_per_byte = TextLoss{loss, tokens}.bits_per_token(),
      .valid_bits_per_byte = {},
      .moved = static_cast<double>(updated.value().moved) / static_cast<double>(program_.parameters()),
      .tied = static_cast<double>(std::count(fitness.begin(), fitness.end(), std::int8_t{0})) /
              population_.pairs(),
      .digest = updated.value().digest};
}

Status Trainer::validate(StepReport& report) {
  auto loss = evaluate_text(
      *backend_, valid_, kValidationStreams,
      std::max<std::uint64_t>(1, static_cast<std::uint64_t>(config_.valid_tokens) / kValidationStreams));
  if (!loss.ok()) return loss.status();
  report.valid_bits_per_byte = loss.value().bits_per_token();
  return {};
}

Result<std::string> Trainer::write_sample() {
  auto generator = Generator::create(*backend_, program_);
  if (!generator.ok()) return generator.status();
  const Token start = kDocumentSeparator;
  CLUTCH_RETURN_IF_ERROR(generator.value().feed({&start, 1}));
  std::string text;
  for (int i = 0; i < kSampleTokens; ++i) {
    auto token = generator.value().next({.temperature_q16 = 52429 /* 0.8 */, .seed = step_});
    if (!token.ok()) return token.status();
    if (token.value() == kDocumentSeparator) break;
    text += render_token(token.value(), program_.vocab);
  }
  return text;
}

Status Trainer::new_log(std::uint64_t start_digest) {
  auto log = LogWriter::create(log_path(run_), {exact::kSemanticVersion, population_.pairs(), fitness_, start_digest});
  if (!log.ok()) return log.status();
  log_.emplace(std::move(log).value());
  return {};
}

// The log of a run that goes on at step_.
Status Trainer::open_log(std::uint64_t start_digest) {
  std::error_code error;
  if (step_ == 0 && !std::filesystem::exists(log_path(run_), error)) return new_log(start_digest);  // killed before it was made
  auto read = read_log(log_path(run_));
  if (!read.ok()) return read.status();
  FitnessLog& log = read.value();
  const LogHeader wanted{exact::kSemanticVersion, population_.pairs(), fitness_, log.header.start_digest};
  if (log.header != wanted) {
    return fail(log_path(run_), "is of another run", "restore the fitness.log that belongs to " + config_path(run_));
  }
  if (log.records.size() < step_) {
    return fail(log_path(run_), fmt::format("holds {} good steps, fewer than the checkpoint's {}{}", log.records.size(), step_,
                                            log.damage.ok() ? "" : "; " + log.damage.message()),
                "restore it, or start a new run with --init " + run_);
  }
  if (!log.torn.empty()) notes_.push_back(log.torn);
  if (!log.damage.ok()) notes_.push_back(log.damage.message() + "; the steps from there on are done again");
  auto writer = LogWriter::reopen(log_path(run_), log.header, log.good_bytes);
  if (!writer.ok()) return writer.status();
  log_.emplace(std::move(writer).value());
  logged_ = std::move(log.records);
  return {};
}

// A step that an earlier part of the run logged must come out the same; a new one is appended.
Status Trainer::record(LogRecord record) {
  if (record.step >= logged_.size()) {
    CLUTCH_RETURN_IF_ERROR(log_->append(record));
    return sync_log(config_.sync == "step");
  }
  if (record == logged_[record.step]) return {};
  return fail(log_path(run_), fmt::format("step {} came out differently from what was logged: digest {:016x}, not {:016x}",
                                          record.step + 1, record.digest, logged_[record.step].digest),
              "the text, the program or the machine is not what it was; `clutch audit` tells where it went wrong");
}

// Every second, beside the training: syncing may take longer than a step.
Status Trainer::sync_log(bool now) {
  if (syncing_.valid() && (now || syncing_.wait_for(std::chrono::seconds(0)) == std::future_status::ready)) {
    CLUTCH_RETURN_IF_ERROR(syncing_.get());
  }
  if (now) return log_->sync();
  const auto time = std::chrono::steady_clock::now();
  if (syncing_.valid() || time - synced_ < std::chrono::seconds(1)) return {};
  synced_ = time;
  syncing_ = std::async(std::launch::async, [this] { return log_->sync(); });
  return {};
}

void Trainer::reset_states() {
  states_->write(std::vector<std::int8_t>(population_.size * static_cast<std::size_t>(program_.state_width())));
}

Status Trainer::append_metrics(const StepReport& report) {
  std::string line = fmt::format(
      R"({{"step": {}, "evaluated_tokens": {}, "bits_per_byte": {:.5f}, "moved": {:.6f}, "tied": {:.6f}, "seconds": {:.3f}, "digest": "{}")",
      report.step, report.evaluated_tokens, report.bits_per_byte, report.moved, report.tied, report.seconds,
      digest_text(report.digest));
  if (report.valid_bits_per_byte)
    line += fmt::format(R"(, "valid_bits_per_byte": {:.5f})", *report.valid_bits_per_byte);
  line += "}\n";
  const std::string path = metrics_path(run_);
  std::FILE* file = std::fopen(path.c_str(), "ab");
  const bool written = file != nullptr && std::fwrite(line.data(), 1, line.size(), file) == line.size();
  const bool closed = file != nullptr && std::fclose(file) == 0;
  if (written && closed) return {};
  return fail(path, std::string("cannot be written: ") + std::strerror(errno),
              fmt::format("make room, then go on with: clutch train --resume {}", run_));
}

Status Trainer::save() {
  CLUTCH_RETURN_IF_ERROR(sync_log(true));
  Checkpoint checkpoint{.step = step_,
                        .corpus_digest = digest_text(train_.digest),
                        .seconds = seconds_,
                        .model_config = model_config_,
                        .weights = {},
                        .states = {}};
  CLUTCH_RETURN_IF_ERROR(backend_->read_weights(checkpoint.weights));
  if (config_.carry == "keep") {
    checkpoint.states.resize(population_.size * static_cast<std::size_t>(program_.state_width()));
    states_->read(checkpoint.states);
  }
  CLUTCH_RETURN_IF_ERROR(write_checkpoint(run_, program_, checkpoint, population_.size, config_.keep));
  saved_step_ = step_;
  return {};
}

Status Trainer::train(TrainObserver& observer, const std::atomic<bool>& stop) {
  const auto start = std::chrono::steady_clock::now();
  const double before = seconds_;
  const auto due = [this](std::int64_t every) {
    return every > 0 && step_ % static_cast<std::uint64_t>(every) == 0;
  };
  const auto steps = static_cast<std::uint64_t>(config_.steps);
  while (step_ < steps && !stop) {
    auto report = run_step();
    if (!report.ok()) return report.status();
    const bool last = step_ == steps;
    if (!valid_.tokens.empty() && (due(config_.validate_every) || (last && config_.validate_every > 0))) {
      CLUTCH_RETURN_IF_ERROR(validate(report.value()));
    }
    seconds_ = before + seconds_since(start);
    report.value().seconds = seconds_;
    CLUTCH_RETURN_IF_ERROR(append_metrics(report.value()));
    observer.on_step(report.value());
    if (due(config_.sample_every)) {
      auto text = write_sample();
      if (!text.ok()) return text.status();
      observer.on_sample(step_, text.value());
    }
    if (due(config_.checkpoint_every)) {
      CLUTCH_RETURN_IF_ERROR(save());
      observer.on_checkpoint(step_);
    }
  }
  if (saved_step_ == step_) return {};
  CLUTCH_RETURN_IF_ERROR(save());
  observer.on_checkpoint(step_);
  return {};
}

}  // namespace clutch
