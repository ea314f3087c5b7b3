// A run's folder on disk: config.json, metrics.jsonl and checkpoints/. docs/FORMATS.md describes every file.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/status.h"
#include "models/model.h"
#include "run/config.h"

namespace clutch {

// Everything a run needs to go on: the model, the members' states, and where it stood.
struct Checkpoint {
  std::uint64_t step = 0;            // updates made
  std::string corpus_digest;         // of the training text, 16 hexadecimal digits
  std::string held_out_digest = "";  // the same of the held-out text; empty where nothing is held out
  double seconds = 0;                // of training so far; for display
  double core_seconds = 0;           // processor time of the same; for display
  ModelConfig model_config;
  Weights weights;
  std::vector<std::int8_t> states;  // [population][state_width]; empty where nothing is carried
  RuleMemory memory = {};           // the rule, and what it remembers
};

std::string config_path(const std::string& run);
std::string metrics_path(const std::string& run);
std::string log_path(const std::string& run);

// Makes a new run folder with its config.json; fails where the folder exists and is not empty.
Status create_run(const std::string& run, const RunConfig& config);

// Writes config.json anew.
Status write_config(const std::string& run, const RunConfig& config);
Result<RunConfig> read_config(const std::string& run);

// Writes checkpoints/step-<8 digits>.safetensors, then removes the oldest beyond `keep`.
Status write_checkpoint(const std::string& run, const Program& program, const Checkpoint& checkpoint,
                        std::int64_t population, std::int64_t keep);

// A checkpoint from the bytes of its file, or from the file. Fails where it is damaged or no checkpoint.
Result<Checkpoint> parse_checkpoint(std::string_view bytes, const std::string& name);
Result<Checkpoint> read_checkpoint(const std::string& path);

bool has_checkpoint(const std::string& run);

// The last checkpoint of a run. Fails where there is none or it is damaged.
Result<Checkpoint> read_last_checkpoint(const std::string& run);

// The steps that checkpoints of a run stand at, rising.
std::vector<std::uint64_t> checkpoint_steps(const std::string& run);

// The latest checkpoint of at most `step` updates; nothing where there is none.
std::optional<Result<Checkpoint>> read_checkpoint_at_or_before(const std::string& run, std::uint64_t step);

// The file a user's -m means: a run folder stands for its last checkpoint, anything else for itself.
Result<std::string> model_file(const std::string& path);

// model_file, read. `memory`, where given, becomes what the rule remembers; nothing where the file is not of
// a run.
Result<Model> load_model(const std::string& path, std::optional<RuleMemory>* memory = nullptr);

// The weights a run began with, where its seed alone decides them; nothing for other paths and runs.
std::optional<Weights> seeded_start(const std::string& run, const Program& program);

// Removes what a killed process left half written in the run folder.
void remove_temporaries(const std::string& run);

// Drops the lines of metrics.jsonl after `step`, and a last line that was cut short: what a resume does
// again.
Status cut_metrics(const std::string& run, std::uint64_t step);

}  // namespace clutch
