#include "run/trainer.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>

#include "backend/select.h"
#include "base/bytes.h"
#include "base/files.h"
#include "exact/digest.h"
#include "generate/generator.h"
#include "generate/text.h"
#include "run/evaluate.h"
#include "run/exchange.h"
#include "run/plan.h"
#include "run/step.h"
#include "run/text.h"

namespace clutch {
namespace {

constexpr std::uint32_t kValidationStreams = 64;
constexpr int kSampleTokens = 200;
constexpr std::uint64_t kInspectedTokens = 1024;
constexpr std::uint64_t kMaxCheckpointBytes = std::uint64_t{1} << 40;

// Processor time of all threads of this process since it began.
double process_core_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::string digest_text(std::uint64_t digest) { return fmt::format("{:016x}", digest); }

}  // namespace

// Loads all that a configuration names, on this rank.
Status Trainer::prepare(RunConfig config) {
  CLUTCH_RETURN_IF_ERROR(resolve(config));
  config_ = config;
  population_ = population(config);
  optimiser_ = optimiser(config);
  fitness_ = *fitness_shape(config.fitness);
  model_config_ = clutch::model_config(config_);
  auto program = build_program(model_config_, population_.noise);
  if (!program.ok()) return program.status();
  program_ = std::move(program).value();
  auto backend =
      make_backend_for(program_, population_.noise, config.backend, config.threads, config.pin == 1);
  if (!backend.ok()) return backend.status();
  backend_ = std::move(backend).value();
  auto text = load_training_text(config);
  if (!text.ok()) return text.status();
  train_ = std::move(text.value().train);
  valid_ = std::move(text.value().held_out);
  const std::uint32_t members = 2 * cluster_.share(population_.pairs()).count;
  const Workload workload{.noise = population_.noise,
                          .rule = optimiser_.rule,
                          .members = members,
                          .pairs = population_.pairs(),
                          .streams = (members + population_.group_size - 1) / population_.group_size,
                          .length = static_cast<std::uint32_t>(config.tokens_per_update),
                          .carries = config.carry == "keep"};
  const auto plans = plan_memory(*backend_, program_, workload, train_.tokens.size() + valid_.tokens.size());
  if (!plans.ok()) return plans.status();
  memory_plan_ = describe(plans.value());
  return check_memory(plans.value());
}

Result<std::unique_ptr<Trainer>> Trainer::create(const std::string& run, RunConfig config, Cluster& cluster) {
  auto trainer = std::unique_ptr<Trainer>(new Trainer(cluster));
  Checkpoint start;  // of --init's weights; empty for the seed's
  const auto load = [&]() -> Status {
    if (!config.init.empty()) {
      auto model = clutch::load_model(config.init);
      if (!model.ok()) return model.status();
      const ModelConfig& brought = model.value().config;
      config.arch = brought.arch, config.dialect = brought.dialect, config.activation = brought.activation;
      config.dim = brought.dim, config.layers = brought.layers, config.vocab = brought.vocab;
      config.window = brought.window;
      start.weights = std::move(model.value().weights);
    }
    CLUTCH_RETURN_IF_ERROR(trainer->prepare(config));
    start.memory.rule = trainer->optimiser_.rule;
    return trainer->load_model(start);
  };
  CLUTCH_RETURN_IF_ERROR(agree(cluster, load()));
  CLUTCH_RETURN_IF_ERROR(trainer->compare_ranks());
  Status made;
  if (cluster.writes()) {
    auto recorder = Recorder::create(run, trainer->config_, trainer->digest_);
    made = recorder.status();
    if (recorder.ok()) trainer->recorder_ = std::move(recorder).value();
  }
  CLUTCH_RETURN_IF_ERROR(agree(cluster, made));
  // A resume from before the first checkpoint would need --init's model again.
  if (!start.weights.empty()) CLUTCH_RETURN_IF_ERROR(trainer->save());
  return trainer;
}

Result<std::unique_ptr<Trainer>> Trainer::resume(const std::string& run, RunConfig config, Cluster& cluster) {
  auto trainer = std::unique_ptr<Trainer>(new Trainer(cluster));
  trainer->run_ = run;
  CLUTCH_RETURN_IF_ERROR(agree(cluster, trainer->prepare(std::move(config))));
  Checkpoint checkpoint;
  checkpoint.memory.rule = trainer->optimiser_.rule;
  CLUTCH_RETURN_IF_ERROR(trainer->read_checkpoint_from_rank_0(run, checkpoint));
  trainer->step_ = checkpoint.step;
  if (!checkpoint.weights.empty()) trainer->saved_step_ = checkpoint.step;
  trainer->seconds_ = checkpoint.seconds;
  trainer->core_seconds_ = checkpoint.core_seconds;
  CLUTCH_RETURN_IF_ERROR(agree(cluster, trainer->load_model(checkpoint)));
  CLUTCH_RETURN_IF_ERROR(trainer->compare_ranks());
  Status opened;
  if (cluster.writes()) {
    auto recorder = Recorder::reopen(run, trainer->config_, trainer->step_, trainer->digest_);
    opened = recorder.status();
    if (recorder.ok()) trainer->recorder_ = std::move(recorder).value();
  }
  CLUTCH_RETURN_IF_ERROR(agree(cluster, opened));
  return trainer;
}

std::uint64_t Trainer::evaluated_tokens() const {
  return step_ * population_.size * static_cast<std::uint64_t>(config_.tokens_per_update);
}

std::uint64_t Trainer::distinct_tokens() const {
  return clutch::distinct_tokens(train_.tokens.size(), population_.streams(), step_,
                                 static_cast<std::uint32_t>(config_.tokens_per_update));
}

std::string Trainer::held_out_digest() const {
  return valid_.tokens.empty() ? "" : digest_text(valid_.digest);
}

// The last checkpoint of rank 0's folder, on every rank; left as it is where there is none.
Status Trainer::read_checkpoint_from_rank_0(const std::string& run, Checkpoint& out) {
  std::string bytes;  // its path, a 0 byte, its content
  const auto read = [&]() -> Status {
    if (!cluster_.writes()) return {};
    if (!has_checkpoint(run) && config_.init.empty()) return {};
    if (!has_checkpoint(run)) {
      return fail(run, "was started from --init and stopped before its first checkpoint",
                  "remove it and start it anew");
    }
    auto path = model_file(run);
    if (!path.ok()) return path.status();
    auto file = read_file(path.value(), kMaxCheckpointBytes);
    if (!file.ok()) return file.status();
    bytes = path.value() + '\0' + file.value();
    return {};
  };
  CLUTCH_RETURN_IF_ERROR(agree(cluster_, read()));
  auto shared = from_rank_0(cluster_, std::move(bytes));
  if (!shared.ok()) return shared.status();
  if (shared.value().empty()) return {};
  const std::size_t name_bytes = shared.value().find('\0');
  const auto parse = [&]() -> Status {
    auto checkpoint = parse_checkpoint(std::string_view(shared.value()).substr(name_bytes + 1),
                                       shared.value().substr(0, name_bytes));
    if (!checkpoint.ok()) return checkpoint.status();
    out = std::move(checkpoint).value();
    if (to_metadata(out.model_config) != to_metadata(model_config_)) {
      return fail(config_path(run), "describes another model than the last checkpoint holds",
                  "restore the config.json that belongs to the run");
    }
    if (out.memory.rule != optimiser_.rule) {
      return fail(config_path(run),
                  fmt::format("asks for the rule '{}', but the last checkpoint is of '{}'", config_.rule,
                              exact::entry(out.memory.rule).name),
                  "restore the config.json that belongs to the run, or start a new run with --init " + run);
    }
    const std::string way_out = "restore the text as it was, or start a new run with --init " + run;
    if (out.corpus_digest != digest_text(train_.digest)) {
      return fail("--data",
                  fmt::format("the text has digest {}, but {} was trained on {}", digest_text(train_.digest),
                              run, out.corpus_digest),
                  way_out);
    }
    // Rank 0 alone measures held-out text. Checkpoints of old, and where none was held out, say nothing.
    if (!cluster_.writes() || out.held_out_digest.empty() || out.held_out_digest == held_out_digest())
      return {};
    return fail("--valid",
                fmt::format("the held-out text has digest {}, but {} was measured on {}", held_out_digest(),
                            run, out.held_out_digest),
                way_out);
  };
  return agree(cluster_, parse());
}

// Makes the weights, what the rule remembers, and this rank's states resident; empty weights stand for the
// seed's initial ones, empty states for zeros where nothing has been carried yet.
Status Trainer::load_model(const Checkpoint& from) {
  const std::vector<std::int8_t>& states = from.states;
  const Weights initial = from.weights.empty() ? initial_weights(program_, population_.seed) : from.weights;
  digest_ = digest(program_, initial);
  CLUTCH_RETURN_IF_ERROR(backend_->load(program_, population_.noise, initial, from.memory));
  const Cluster::Share share = cluster_.share(population_.pairs());
  if (share.count == 0)
    return fail("mpirun", fmt::format("rank {} has no pair to evaluate", cluster_.rank()),
                "use fewer ranks or a larger --population");
  if (config_.carry == "reset") return {};
  auto made = backend_->new_states(2 * share.count);
  if (!made.ok()) return made.status();
  states_ = std::move(made).value();
  if (states.empty() && step_ == 0) return {};
  const auto width = static_cast<std::size_t>(program_.state_width());
  const std::size_t wanted = population_.size * width;
  if (states.size() != wanted || std::find(states.begin(), states.end(), std::int8_t{-128}) != states.end()) {
    return fail(
        run_ + "/checkpoints",
        fmt::format("its member states are damaged: {} values, not {} in [-127, 127]", states.size(), wanted),
        "remove the last checkpoint to go on from the one before");
  }
  return states_->write({states.data() + 2 * share.first * width, 2 * share.count * width});
}

// What all ranks must have alike before they begin.
Status Trainer::compare_ranks() {
  RunConfig meaning = config_;
  const RunConfig defaults;
  for (const Knob& knob : knobs()) {
    if (knob.group == KnobGroup::kMeaning && std::string_view(knob.name) != "data" &&
        std::string_view(knob.name) != "valid")
      continue;
    std::visit([&](auto field) { meaning.*field = defaults.*field; }, knob.field);
  }
  CLUTCH_RETURN_IF_ERROR(
      require_same(cluster_, "configuration", to_json(meaning), "give every rank the same knobs"));
  CLUTCH_RETURN_IF_ERROR(
      require_same(cluster_, "--steps", std::to_string(config_.steps), "give every rank the same"));
  CLUTCH_RETURN_IF_ERROR(require_same(cluster_, "the digest of --data", digest_text(train_.digest),
                                      "copy the text of rank 0 to every rank"));
  return require_same(cluster_, "the digest of the starting weights", digest_text(digest_),
                      "give every rank the same --init");
}

// losses [2 * share] of this rank's members.
Status Trainer::evaluate_share(std::vector<std::int64_t>& losses) {
  const Cluster::Share share = cluster_.share(population_.pairs());
  const auto length = static_cast<std::uint32_t>(config_.tokens_per_update);
  const StepText text = text_of_step(train_, population_, step_, length, share.first, share.count);
  losses.assign(2 * share.count, 0);
  return backend_->evaluate({.noise = noise_of_step(population_, step_, share.first),
                             .length = length,
                             .text = text.text,
                             .stream_of = text.stream_of,
                             .states = states_.get()},  // none under `carry reset`
                            {.losses = losses, .logits = {}});
}

// The failure of a rank whose weights went astray, by the first tensor that differs from rank 0's.
Status Trainer::name_odd_rank(int rank) {
  Weights weights;
  CLUTCH_RETURN_IF_ERROR(backend_->read_weights(weights));
  std::string digests;
  for (std::size_t t = 0; t < weights.size(); ++t) {
    put_little_endian(
        digests, exact::digest_tensor(static_cast<std::uint32_t>(t), weights[t].data(), weights[t].size()),
        8);
  }
  auto gathered = cluster_.gather(digests);
  if (!gathered.ok()) return gathered.status();
  const std::string &theirs = gathered.value()[static_cast<std::size_t>(rank)], &ours = gathered.value()[0];
  std::string where = "its digest alone";
  for (std::size_t t = 0; t < weights.size() && theirs.size() == ours.size(); ++t) {
    if (get_little_endian(theirs, 8 * t, 8) == get_little_endian(ours, 8 * t, 8)) continue;
    where = "tensor " + program_.tensors[t].label();
    break;
  }
  return fail(fmt::format("rank {}", rank),
              fmt::format("its weights differ from rank 0's after step {}, first in {}", step_, where),
              "that machine or backend is wrong: compare it with --backend reference");
}

// `trouble` is what went wrong on this rank after the exchange before; the others learn of it here.
Status Trainer::run_step(const std::atomic<bool>& stop, const Status& trouble, StepReport& report) {
  StepPart part{.losses = {}, .digest = digest_, .stop = false};
  const Status evaluated = trouble.ok() ? evaluate_share(part.losses) : trouble;
  part.stop = stop;
  part.core_ns = static_cast<std::uint64_t>(1e9 * (process_core_seconds() - core_seconds_outside_));
  auto exchanged = exchange_step(cluster_, fitness_, population_, part, evaluated);
  if (!exchanged.ok()) return exchanged.status();
  const StepOutcome& outcome = exchanged.value();
  if (outcome.odd_rank >= 0) return name_odd_rank(outcome.odd_rank);
  stopping_ = outcome.stop;
  bytes_per_step_ = outcome.bytes;
  core_seconds_ = core_seconds_before_ + 1e-9 * static_cast<double>(outcome.core_ns);
  auto updated = apply_step(*backend_, population_, optimiser_, step_, outcome.fitness);
  if (!updated.ok()) return updated.status();
  digest_ = updated.value().digest;
  const std::uint64_t step = step_++;

  const std::uint64_t tokens =
      std::uint64_t{population_.size} * static_cast<std::uint64_t>(config_.tokens_per_update);
  report = {.step = step_,
            .evaluated_tokens = evaluated_tokens(),
            .bits_per_byte = TextLoss{outcome.loss, tokens}.bits_per_token(),
            .valid_bits_per_byte = {},
            .moved = static_cast<double>(updated.value().moved) / static_cast<double>(program_.parameters()),
            .tied = static_cast<double>(
                        std::count(outcome.fitness.begin(), outcome.fitness.end(), std::int8_t{0})) /
                    population_.pairs(),
            .distinct_tokens = distinct_tokens(),
            .core_seconds = core_seconds_,
            .digest = digest_};
  if (!cluster_.writes()) return {};
  return recorder_->record({step, outcome.loss, digest_, outcome.fitness});
}

// Rank 0's part after a step: measure, write down, show.
Status Trainer::report_step(StepReport& report, TrainObserver& observer) {
  const bool last = step_ == static_cast<std::uint64_t>(config_.steps);
  if (!valid_.tokens.empty() && config_.validate_every > 0 && (due(config_.validate_every) || last)) {
    CLUTCH_RETURN_IF_ERROR(validate(report));
  }
  if (due(config_.inspect_every)) CLUTCH_RETURN_IF_ERROR(inspect(report));
  if (due(config_.sample_every)) CLUTCH_RETURN_IF_ERROR(write_sample(report));
  report.seconds = seconds_;
  CLUTCH_RETURN_IF_ERROR(recorder_->append_metrics(report));
  observer.on_step(report);
  if (report.sample) observer.on_sample(step_, *report.sample);
  return {};
}

Status Trainer::validate(StepReport& report) {
  const std::uint64_t per_stream = static_cast<std::uint64_t>(config_.valid_tokens) / kValidationStreams;
  auto loss = evaluate_text(*backend_, valid_, kValidationStreams, std::max<std::uint64_t>(1, per_stream));
  if (!loss.ok()) return loss.status();
  report.valid_bits_per_byte = loss.value().bits_per_token();
  return {};
}

Status Trainer::inspect(StepReport& report) {
  Weights weights;
  CLUTCH_RETURN_IF_ERROR(backend_->read_weights(weights));
  const Corpus& text = valid_.tokens.size() < 2 ? train_ : valid_;
  auto instructions = inspect_activations(*backend_, program_, text, kInspectedTokens);
  if (!instructions.ok()) return instructions.status();
  report.inspection =
      Inspection{inspect_weights(program_, weights, nullptr), std::move(instructions).value(), {}};
  report.inspection->warnings = warnings_of(*report.inspection);
  if (report.tied == 1) report.inspection->warnings.push_back(tied_warning(report.step));
  return {};
}

Status Trainer::write_sample(StepReport& report) {
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
  report.sample = std::move(text);
  return {};
}

// A checkpoint, which needs every rank's states.
Status Trainer::save() {
  auto digests = cluster_.gather(digest_text(digest_));  // the last update's have not been compared yet
  if (!digests.ok()) return digests.status();
  for (int r = 1; r < cluster_.size(); ++r) {
    if (digests.value()[static_cast<std::size_t>(r)] != digests.value()[0]) return name_odd_rank(r);
  }
  std::string mine;
  Status read;
  if (config_.carry == "keep") {
    mine.resize(2 * cluster_.share(population_.pairs()).count *
                static_cast<std::size_t>(program_.state_width()));
    read = states_->read({reinterpret_cast<std::int8_t*>(mine.data()), mine.size()});
  }
  CLUTCH_RETURN_IF_ERROR(agree(cluster_, read));
  auto all = cluster_.gather(mine);
  if (!all.ok()) return all.status();
  Status written;
  if (cluster_.writes()) {
    Checkpoint checkpoint{.step = step_,
                          .corpus_digest = digest_text(train_.digest),
                          .held_out_digest = held_out_digest(),
                          .seconds = seconds_,
                          .core_seconds = core_seconds_,
                          .model_config = model_config_,
                          .weights = {},
                          .states = {},
                          .memory = {optimiser_.rule, {}}};
    for (const std::string& part : all.value())
      checkpoint.states.insert(checkpoint.states.end(), part.begin(), part.end());
    written = backend_->read_weights(checkpoint.weights, &checkpoint.memory.state);
    if (written.ok()) written = recorder_->save(program_, checkpoint);
  }
  CLUTCH_RETURN_IF_ERROR(agree(cluster_, written));
  saved_step_ = step_;
  return {};
}

Status Trainer::train(TrainObserver& observer, const std::atomic<bool>& stop) {
  const auto start = std::chrono::steady_clock::now();
  seconds_before_ = seconds_;
  core_seconds_before_ = core_seconds_;
  core_seconds_outside_ = process_core_seconds();
  const auto steps = static_cast<std::uint64_t>(config_.steps);
  Status trouble;  // of this rank since the last exchange
  while (step_ < steps && !stopping_ && !(stop && cluster_.size() == 1)) {
    StepReport report;
    const std::uint64_t begun = step_;
    trouble = run_step(stop, trouble, report);
    if (step_ == begun) return trouble;  // all ranks know
    seconds_ =
        seconds_before_ + std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (trouble.ok() && cluster_.writes()) trouble = report_step(report, observer);
    if (!trouble.ok() && cluster_.size() == 1) return trouble;
    if (!due(config_.checkpoint_every)) continue;
    CLUTCH_RETURN_IF_ERROR(agree(cluster_, trouble));
    CLUTCH_RETURN_IF_ERROR(save());
    if (cluster_.writes()) observer.on_checkpoint(step_);
  }
  CLUTCH_RETURN_IF_ERROR(agree(cluster_, trouble));
  if (saved_step_ == step_) return {};
  CLUTCH_RETURN_IF_ERROR(save());
  if (cluster_.writes()) observer.on_checkpoint(step_);
  return {};
}

}  // namespace clutch
