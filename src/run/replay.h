// Weights from the log: a step is its update applied to the weights before it, without evaluating anything.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "models/model.h"
#include "run/config.h"
#include "run/fitness_log.h"

namespace clutch {

// What a replay starts from and goes by: a run folder, or a packed run (pack.h).
struct Recording {
  std::string name;  // of the folder or file, for messages
  RunConfig config;  // resolved
  ModelConfig model_config;
  FitnessLog log;
  std::string corpus_digest;  // of the training text; empty where unknown
};

// Reads config.json and fitness.log of a run folder. A log that is damaged in the middle, or ends before the
// last checkpoint, is fine: `log.damage` says so, and what is good is in `log.records`.
Result<Recording> read_recording(const std::string& run);

// That the log is of the configuration's population and fitness shape.
Status check_recording(const Recording& recording);

// Weights, the members' states and what the rule remembers, with the number of steps that led to them.
struct Standpoint {
  std::uint64_t step = 0;
  Weights weights;
  std::vector<std::int8_t> states;  // [population][state_width]; empty stands for zeros
  RuleMemory memory;                // the rule, and what it remembers
};

// The nearest point at or before `step` that needs no replay: a checkpoint of the folder, or the start
// (initial weights of the seed, or --init's model). Fails where the start cannot be made.
Result<Standpoint> nearest_standpoint(const Recording& recording, const Program& program, std::uint64_t step);

// The step of the first recorded point after `step`; the largest number where there is none.
std::uint64_t next_standpoint(const Recording& recording, std::uint64_t step);

// Called after each replayed step with the number of steps made.
using ReplayProgress = std::function<void(std::uint64_t)>;

// Replays records [from.step, to) on the backend, checking each digest; the backend then holds the weights
// after `to` steps. Fails, naming the step, where a digest differs or the log ends before.
Status replay(const Recording& recording, const Program& program, const Standpoint& from, std::uint64_t to,
              Backend& backend, const ReplayProgress& progress);

}  // namespace clutch
