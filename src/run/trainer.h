// The training loop: evaluate, judge, update, record. It knows no terminal; whoever watches gets reports.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "data/corpus.h"
#include "run/checkpoint.h"
#include "run/config.h"
#include "run/fitness_log.h"

namespace clutch {

// One step, as metrics.jsonl has it.
struct StepReport {
  std::uint64_t step = 0;              // updates made, this one included
  std::uint64_t evaluated_tokens = 0;  // member-tokens since the run began
  double bits_per_byte = 0;  // of this step's members, with their noise; per token of other vocabularies
  std::optional<double> valid_bits_per_byte;  // of held-out text, without noise
  double moved = 0, tied = 0;                 // shares of the weights, of the pairs
  double seconds = 0;                         // since the run began, over all its parts
  std::uint64_t digest = 0;                   // of the weights after the step
};

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_sample(std::uint64_t step, const std::string& text) = 0;
  virtual void on_checkpoint(std::uint64_t step) = 0;
};

class Trainer {
 public:
  // A new run in folder `run`, which must not exist (or be empty). Everything is loaded and checked before
  // the folder is made.
  static Result<std::unique_ptr<Trainer>> create(const std::string& run, RunConfig config);

  // Goes on from the last checkpoint of `run`, or from the start where there is none yet. `config` is the
  // run's own with kLength and kComfort knobs changed at will.
  static Result<std::unique_ptr<Trainer>> resume(const std::string& run, RunConfig config);

  // Trains to config.steps, or until `stop` is true; then saves. A failure leaves the last checkpoint good.
  Status train(TrainObserver& observer, const std::atomic<bool>& stop);

  const RunConfig& config() const { return config_; }
  const Program& program() const { return program_; }
  const Backend& backend() const { return *backend_; }
  const Corpus& corpus() const { return train_; }
  const Corpus& held_out() const { return valid_; }  // empty where nothing is held out
  std::uint64_t step() const { return step_; }
  // What a person should know of how the run was found: a log that was cut.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Trainer() = default;
  static Result<std::unique_ptr<Trainer>> prepare(RunConfig config);
  Status load_model(const Weights& weights, const std::vector<std::int8_t>& states);
  Status open_log(std::uint64_t start_digest);
  Status new_log(std::uint64_t start_digest);
  Result<StepReport> run_step();
  Status validate(StepReport& report);
  Result<std::string> write_sample();
  Status record(LogRecord record);
  Status sync_log(bool now);
  void reset_states();
  Status append_metrics(const StepReport& report);
  Status save();

  std::string run_;
  RunConfig config_;
  Population population_;
  AlphaSchedule alpha_;
  FitnessShape fitness_ = FitnessShape::sign;
  ModelConfig model_config_;
  Program program_;
  Corpus train_, valid_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<States> states_;
  std::optional<LogWriter> log_;
  std::vector<LogRecord> logged_;      // from an earlier part of the run, to be met again
  std::future<Status> syncing_;        // the log's way to the disk, beside the training
  std::chrono::steady_clock::time_point synced_{};
  std::vector<std::string> notes_;
  std::uint64_t start_digest_ = 0;     // of the weights that were loaded
  std::uint64_t step_ = 0, saved_step_ = ~std::uint64_t{0};
  double seconds_ = 0;
};

}  // namespace clutch
