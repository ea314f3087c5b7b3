// What a run leaves on disk while it goes: config.json, the fitness log, metrics.jsonl, checkpoints. Of
// several ranks only rank 0 has one.
#pragma once

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "inspect/inspect.h"
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
  std::uint64_t distinct_tokens = 0;          // of the text, that some member has read since the run began
  double seconds = 0;                         // since the run began, over all its parts
  double core_seconds = 0;                    // processor time of the same, of all threads and ranks
  std::uint64_t digest = 0;                   // of the weights after the step
  std::optional<std::string> sample = {};     // what the model wrote, where it was asked to
  std::optional<Inspection> inspection = {};  // where it was asked for
};

// What the fitness log has cost this process.
struct LogCost {
  std::uint64_t records = 0, bytes = 0;  // appended
  double seconds = 0;                    // that training waited for them
};

class Recorder {
 public:
  // A new run folder, with config.json and an empty log whose weights start at start_digest.
  static Result<std::unique_ptr<Recorder>> create(const std::string& run, const RunConfig& config,
                                                  std::uint64_t start_digest);

  // A run that goes on after `step` updates, from weights of this digest. The log's records beyond `step` are
  // kept: those steps must come out the same again. A log damaged beyond `step` is cut there; before it, that
  // is a failure, as are weights (of `digest`) that are not the log's at `step`. metrics.jsonl is cut at
  // `step`.
  static Result<std::unique_ptr<Recorder>> reopen(const std::string& run, const RunConfig& config,
                                                  std::uint64_t step, std::uint64_t digest);

  // Appends a step to the log (handed to the operating system before it returns), or, where an earlier part
  // of the run logged it, compares it.
  Status record(const LogRecord& record);

  Status append_metrics(const StepReport& report);

  // Syncs the log and the metrics, then writes a checkpoint: what it goes on from is on the disk before it.
  Status save(const Program& program, const Checkpoint& checkpoint);

  const LogCost& log_cost() const { return log_cost_; }

  // What a person should know of how the run was found: a log that was cut.
  const std::vector<std::string>& notes() const { return notes_; }

 private:
  Recorder(std::string run, const RunConfig& config) : run_(std::move(run)), config_(config) {}
  class Lock;
  LogHeader header(std::uint64_t start_digest) const;
  Status new_log(std::uint64_t start_digest);
  Status open_log(std::uint64_t step, std::uint64_t digest);
  Status lock();
  Status append(const LogRecord& record);
  Status append_events(const StepReport& report);
  Status append_to(const std::string& path, std::string_view bytes) const;
  Status sync_log(bool now);
  Status sync_metrics() const;

  const std::string run_;
  const RunConfig config_;
  std::shared_ptr<Lock> lock_;  // of the folder: two that write one run would spoil it
  std::optional<LogWriter> log_;
  std::vector<LogRecord> logged_;  // from an earlier part of the run
  std::vector<std::string> notes_;
  std::string events_;  // the path of this process's event file, once it has one
  LogCost log_cost_;
  std::chrono::steady_clock::time_point synced_{};
  std::future<Status> syncing_;  // the log's way to the disk, beside the training; ends before log_ does
};

}  // namespace clutch
