#include "run/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <numeric>

#include "backend/select.h"
#include "data/streams.h"
#include "exact/loss.h"
#include "generate/generator.h"
#include "generate/text.h"
#include "run/evaluate.h"

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
  auto backend = make_backend(config.backend, config.threads, config.pin == 1);
  if (!backend.ok()) return backend.status();
  trainer->backend_ = std::move(backend).value();
  CLUTCH_RETURN_IF_ERROR(trainer->load_text());
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
    if (to_metadata(checkpoint.model_config) != to_metadata(clutch::model_config(trainer.config_))) {
      return fail(config_path(run), "describes another model than the last checkpoint holds",
                  "restore config.json as it was");
    }
    trainer.step_ = trainer.saved_step_ = checkpoint.step;
    trainer.seconds_ = checkpoint.seconds;
  } else if (!trainer.config_.init.empty()) {
    return fail(run, "was started from --init and stopped before its first checkpoint",
                "remove it and start it anew");
  }
  CLUTCH_RETURN_IF_ERROR(trainer.load_model(checkpoint.weights, checkpoint.states));
  remove_temporaries(run);
  CLUTCH_RETURN_IF_ERROR(cut_metrics(run, trainer.step_));
  CLUTCH_RETURN_IF_ERROR(write_config(run, trainer.config_));
  return prepared;
}

Status Trainer::load_text() {
  const auto vocab = static_cast<std::uint32_t>(config_.vocab);
  if (config_.vocab < 2 || config_.vocab > exact::kMaxVocab) {
    return fail("--vocab", fmt::format("{} is outside 2..{}", config_.vocab, exact::kMaxVocab),
                "bytes have 256");
  }
  auto corpus = load_corpus(config_.data, vocab);
  if (!corpus.ok()) return corpus.status();
  const auto least = static_cast<std::uint64_t>(config_.tokens_per_update) + 1;
  if (!config_.valid.empty()) {
    auto valid = load_corpus({config_.valid}, vocab);
    if (!valid.ok()) return valid.status();
    valid_ = std::move(valid).value();
    if (valid_.tokens.size() < 2) return fail("--valid", "holds a single token", "hold out more text");
    train_ = std::move(corpus).value();
  } else if (const std::uint32_t permille = valid_permille(config_); permille > 0) {
    const std::size_t tokens = corpus.value().tokens.size();
    if (tokens * permille / 1000 < 2) {
      return fail("--valid-fraction",
                  fmt::format("{} of the {} tokens of --data hold out nothing to measure",
                              config_.valid_fraction, tokens),
                  "bring more text, or pass --valid FILE or --valid-fraction 0");
    }
    auto split = split_tail(std::move(corpus).value(), permille, 2);
    if (!split.ok()) return split.status();
    train_ = std::move(split.value().train);
    valid_ = std::move(split.value().held_out);
  } else {
    train_ = std::move(corpus).value();
  }
  if (train_.tokens.size() < least) {
    return fail("--data",
                fmt::format("{} tokens to train on are too short for --tokens-per-update {}",
                            train_.tokens.size(), config_.tokens_per_update),
                fmt::format("bring at least {} tokens, or fewer per update", least));
  }
  return {};
}

// Makes the program resident; empty weights stand for the seed's initial ones, empty states for zeros.
Status Trainer::load_model(const Weights& weights, const std::vector<std::int8_t>& states) {
  model_config_ = clutch::model_config(config_);
  auto program = build_program(model_config_, population_.noise);
  if (!program.ok()) return program.status();
  program_ = std::move(program).value();
  CLUTCH_RETURN_IF_ERROR(backend_->supports(program_, population_.noise));
  CLUTCH_RETURN_IF_ERROR(backend_->load(
      program_, population_.noise, weights.empty() ? initial_weights(program_, population_.seed) : weights));
  auto made = backend_->new_states(population_.size);
  if (!made.ok()) return made.status();
  states_ = std::move(made).value();
  if (states.empty() && step_ == 0) return {};
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
  std::vector<Token> text(std::size_t{population_.streams()} * (length + 1));
  for (std::uint32_t s = 0; s < population_.streams(); ++s) {
    read_window(train_, {.stream = s, .streams = population_.streams(), .step = step_, .tokens = length},
                text.data() + std::size_t{s} * (length + 1));
  }
  std::vector<std::uint32_t> stream_of(population_.size);
  for (std::uint32_t m = 0; m < population_.size; ++m) stream_of[m] = population_.stream_of(m);
  std::vector<std::int64_t> losses(population_.size);
  const NoiseSource noise{.seed = population_.seed, .epoch = population_.epoch(step_)};
  CLUTCH_RETURN_IF_ERROR(backend_->evaluate(
      {.noise = noise, .length = length, .text = text, .stream_of = stream_of, .states = states_.get()},
      {.losses = losses, .logits = {}}));

  const std::vector<std::int8_t> fitness = fitness_of(fitness_, losses);
  const std::uint32_t alpha = alpha_.at(step_);
  auto updated = backend_->update({.noise = noise,
                                   .fitness = fitness,
                                   .matrix_threshold = vote_threshold(alpha, fitness, population_.noise.rank),
                                   .vector_threshold = vote_threshold(alpha, fitness, 1)});
  if (!updated.ok()) return updated.status();
  ++step_;

  const std::uint64_t tokens = std::uint64_t{population_.size} * length;
  const auto loss = std::accumulate(losses.begin(), losses.end(), std::int64_t{0});
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
  Checkpoint checkpoint{.step = step_,
                        .corpus_digest = digest_text(train_.digest),
                        .seconds = seconds_,
                        .model_config = model_config_,
                        .weights = {},
                        .states = {}};
  CLUTCH_RETURN_IF_ERROR(backend_->read_weights(checkpoint.weights));
  checkpoint.states.resize(population_.size * static_cast<std::size_t>(program_.state_width()));
  states_->read(checkpoint.states);
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
