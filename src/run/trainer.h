// The training loop: evaluate, judge, update, record; by one process or by a cluster of them. It knows no
// terminal; whoever watches gets reports.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "data/corpus.h"
#include "run/checkpoint.h"
#include "run/cluster.h"
#include "run/config.h"
#include "run/recorder.h"

namespace clutch {

class TrainObserver {
 public:
  virtual ~TrainObserver() = default;
  virtual void on_step(const StepReport& report) = 0;
  virtual void on_sample(std::uint64_t step, const std::string& text) = 0;
  virtual void on_checkpoint(std::uint64_t step) = 0;
};

// All ranks of the cluster call the same functions in the same order; each evaluates its share of the pairs,
// all apply the same update, and rank 0 alone writes and reports. Any number of ranks, on any backends, gives
// the same log.
class Trainer {
 public:
  // A new run in folder `run`, which must not exist (or be empty). Everything is loaded, checked and compared
  // between ranks before the folder is made.
  static Result<std::unique_ptr<Trainer>> create(const std::string& run, RunConfig config, Cluster& cluster);

  // Goes on from the last checkpoint of `run`, or from the start where there is none yet. `config` is the
  // run's own with kLength and kComfort knobs changed at will. Only rank 0 needs the folder.
  static Result<std::unique_ptr<Trainer>> resume(const std::string& run, RunConfig config, Cluster& cluster);

  // Trains to config.steps, or until `stop` is true on some rank; then saves. A failure leaves the last
  // checkpoint good.
  Status train(TrainObserver& observer, const std::atomic<bool>& stop);

  const RunConfig& config() const { return config_; }
  const Program& program() const { return program_; }
  const Backend& backend() const { return *backend_; }
  const Corpus& corpus() const { return train_; }
  const Corpus& held_out() const { return valid_; }  // empty where nothing is held out
  std::uint64_t step() const { return step_; }
  // What this process takes of memory at most, for a person.
  const std::string& memory_plan() const { return memory_plan_; }
  // Bytes that this rank gave to the last exchange (a single process: to itself); 0 before the first step.
  std::uint64_t bytes_per_step() const { return bytes_per_step_; }
  // Of this process; the log's is rank 0's alone.
  LogCost log_cost() const { return recorder_ ? recorder_->log_cost() : LogCost(); }
  double seconds_trained() const { return seconds_ - seconds_before_; }
  // What the whole run has cost so far: processor time of all threads and ranks up to the last exchange,
  // member-tokens evaluated, and how many different tokens of the text they were.
  double core_seconds() const { return core_seconds_; }
  std::uint64_t evaluated_tokens() const;
  std::uint64_t distinct_tokens() const;
  // What a person should know of how the run was found.
  std::vector<std::string> notes() const {
    return recorder_ ? recorder_->notes() : std::vector<std::string>();
  }

 private:
  explicit Trainer(Cluster& cluster) : cluster_(cluster) {}
  Status prepare(RunConfig config);
  std::string held_out_digest() const;
  Status read_checkpoint_from_rank_0(const std::string& run, Checkpoint& out);
  Status load_model(const Checkpoint& from);
  Status compare_ranks();
  Status evaluate_share(std::vector<std::int64_t>& losses);
  Status name_odd_rank(int rank);
  Status run_step(const std::atomic<bool>& stop, const Status& trouble, StepReport& report);
  Status report_step(StepReport& report, TrainObserver& observer);
  Status inspect(StepReport& report);
  Status validate(StepReport& report);
  Status write_sample(StepReport& report);
  Status save();
  bool due(std::int64_t every) const { return every > 0 && step_ % static_cast<std::uint64_t>(every) == 0; }

  Cluster& cluster_;
  std::string run_;  // where it is resumed from, for messages
  RunConfig config_;
  Population population_;
  Optimiser optimiser_;
  FitnessShape fitness_ = FitnessShape::sign;
  ModelConfig model_config_;
  Program program_;
  Corpus train_, valid_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<States> states_;      // of this rank's share
  std::unique_ptr<Recorder> recorder_;  // on rank 0 alone
  std::uint64_t digest_ = 0;            // of the weights now
  std::uint64_t step_ = 0, saved_step_ = ~std::uint64_t{0};
  std::uint64_t bytes_per_step_ = 0;
  std::string memory_plan_;
  bool stopping_ = false;
  double seconds_ = 0, seconds_before_ = 0;  // of training since the run began; before this process
  double core_seconds_ = 0, core_seconds_before_ = 0;
  double core_seconds_outside_ = 0;  // of this process before it trained
};

}  // namespace clutch
