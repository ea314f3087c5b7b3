#include "run/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <nlohmann/json.hpp>
#include <span>

#include "base/files.h"
#include "base/safetensors.h"
#include "evolution/rule.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;

constexpr const char* kStates = "members.states";
constexpr std::uint64_t kMaxConfigBytes = 1 << 20, kMaxMetricsBytes = std::uint64_t{1} << 32;

std::string checkpoints_path(const std::string& run) { return run + "/checkpoints"; }

// "step-", eight digits, ".safetensors".
bool is_checkpoint_name(const std::string& name) {
  constexpr std::string_view kPrefix = "step-", kSuffix = ".safetensors";
  if (name.size() != kPrefix.size() + 8 + kSuffix.size()) return false;
  const auto digits = name.begin() + static_cast<std::ptrdiff_t>(kPrefix.size());
  return name.starts_with(kPrefix) && name.ends_with(kSuffix) &&
         std::all_of(digits, digits + 8, [](char c) { return c >= '0' && c <= '9'; });
}

std::string checkpoint_path(const std::string& run, std::uint64_t step) {
  return fmt::format("{}/step-{:08}.safetensors", checkpoints_path(run), step);
}

// Paths of finished checkpoints, oldest first: their names sort by step.
std::vector<std::string> list_checkpoints(const std::string& run) {
  std::vector<std::string> paths;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(checkpoints_path(run), error)) {
    const std::string name = entry.path().filename().string();
    if (is_checkpoint_name(name)) paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

Result<std::uint64_t> metadata_number(const SafetensorsFile& file, const char* key, const std::string& name) {
  const auto found = file.metadata.find(key);
  std::uint64_t value = 0;
  if (found != file.metadata.end()) {
    const std::string& text = found->second;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size()) return value;
  }
  return fail(name, fmt::format("its metadata hold no number '{}'", key), "it is no checkpoint of a run");
}

// Of what the rule remembers, tensor by tensor.
std::string rule_digest(std::uint64_t step, const RuleState& state) {
  std::uint64_t digest = step;
  for (const Words& words : state) {
    for (const auto& tensor : words) digest = XXH3_64bits_withSeed(tensor.data(), 4 * tensor.size(), digest);
  }
  return fmt::format("{:016x}", digest);
}

// Of the member states, seeded with the step, so that neither can change unseen.
std::string states_digest(std::uint64_t step, std::span<const std::int8_t> states) {
  return fmt::format("{:016x}", XXH3_64bits_withSeed(states.data(), states.size(), step));
}

Status make_folder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (!error) return {};
  return fail(path, "cannot be created: " + error.message(), "choose another --out");
}

}  // namespace

std::string config_path(const std::string& run) { return run + "/config.json"; }
std::string metrics_path(const std::string& run) { return run + "/metrics.jsonl"; }
std::string log_path(const std::string& run) { return run + "/fitness.log"; }

Status create_run(const std::string& run, const RunConfig& config) {
  std::error_code error;
  const bool existed = fs::exists(run, error);
  if (existed && (!fs::is_directory(run, error) || !fs::is_empty(run, error))) {
    return fail(run, "exists already",
                fmt::format("choose another --out, or go on with: clutch train --resume {}", run));
  }
  CLUTCH_RETURN_IF_ERROR(make_folder(run));
  const Status written = write_config(run, config);
  if (!written.ok() && !existed) fs::remove(run, error);  // a folder with anything in it stays
  return written;
}

Status write_config(const std::string& run, const RunConfig& config) {
  return write_file_atomically(config_path(run), to_json(config));
}

Result<RunConfig> read_config(const std::string& run) {
  auto text = read_file(config_path(run), kMaxConfigBytes);
  if (!text.ok()) return text.status();
  return config_from_json(text.value(), config_path(run));
}

Status write_checkpoint(const std::string& run, const Program& program, const Checkpoint& checkpoint,
                        std::int64_t population, std::int64_t keep) {
  SafetensorsFile file{to_tensors(program, checkpoint.weights), to_metadata(checkpoint.model_config)};
  file.metadata["rule"] = exact::entry(checkpoint.memory.rule).name;
  if (!checkpoint.memory.state.empty()) {
    file.metadata["rule_digest"] = rule_digest(checkpoint.step, checkpoint.memory.state);
    std::vector<Tensor> first;  // before all of int8, so that words lie at multiples of their size
    for (std::size_t k = 0; k < checkpoint.memory.state.size(); ++k) {
      auto tensors = to_tensors(program, checkpoint.memory.state[k],
                                exact::entry(checkpoint.memory.rule).states[k].name);
      std::move(tensors.begin(), tensors.end(), std::back_inserter(first));
    }
    file.tensors.insert(file.tensors.begin(), std::make_move_iterator(first.begin()),
                        std::make_move_iterator(first.end()));
  }
  if (!checkpoint.states.empty()) {
    file.tensors.push_back({kStates, {population, program.state_width()}, checkpoint.states});
  }
  file.metadata["step"] = std::to_string(checkpoint.step);
  file.metadata["seconds"] = fmt::format("{:.3f}", checkpoint.seconds);
  file.metadata["core_seconds"] = fmt::format("{:.3f}", checkpoint.core_seconds);
  file.metadata["corpus_digest"] = checkpoint.corpus_digest;
  if (!checkpoint.held_out_digest.empty()) file.metadata["held_out_digest"] = checkpoint.held_out_digest;
  file.metadata["weights_digest"] = fmt::format("{:016x}", digest(program, checkpoint.weights));
  file.metadata["states_digest"] = states_digest(checkpoint.step, checkpoint.states);
  CLUTCH_RETURN_IF_ERROR(make_folder(checkpoints_path(run)));
  CLUTCH_RETURN_IF_ERROR(write_safetensors(checkpoint_path(run, checkpoint.step), file));
  const auto paths = list_checkpoints(run);
  for (std::size_t i = 0; i + static_cast<std::size_t>(keep) < paths.size(); ++i) {
    std::error_code error;
    fs::remove(paths[i], error);  // one too many is no harm
  }
  return {};
}

namespace {

// What the rule remembers. A file without `rule` is of a time when there was one rule.
Result<RuleMemory> read_rule(const SafetensorsFile& file, const Program& program, std::uint64_t step,
                             const std::string& path) {
  const auto named = file.metadata.find("rule");
  if (named == file.metadata.end()) return RuleMemory{};
  const auto rule = find_rule(named->second);
  if (!rule) {
    return fail(path, fmt::format("its rule '{}' is unknown", named->second),
                fmt::format("use the clutch that wrote it; this one has {}", fmt::join(rule_names(), ", ")));
  }
  RuleMemory memory{*rule, {}};
  for (int k = 0; k < exact::entry(*rule).state_count(); ++k) {
    const exact::RuleStateEntry& state = exact::entry(*rule).states[k];
    auto words = to_words(file, program, state.name, state.least, state.most, path);
    if (!words.ok()) return words.status();
    memory.state.push_back(std::move(words).value());
  }
  const auto digest = file.metadata.find("rule_digest");
  if (!memory.state.empty() &&
      (digest == file.metadata.end() || digest->second != rule_digest(step, memory.state))) {
    return fail(path, "what its rule remembers or its step are not what it was saved with",
                "the file is damaged; remove it to go on from the checkpoint before");
  }
  return memory;
}

Result<Checkpoint> to_checkpoint(Result<SafetensorsFile> file, const std::string& path) {
  if (!file.ok()) return file.status();
  auto model = to_model(file.value(), path);
  if (!model.ok()) return model.status();
  auto step = metadata_number(file.value(), "step", path);
  if (!step.ok()) return step.status();

  Checkpoint checkpoint{.step = step.value(),
                        .corpus_digest = file.value().metadata["corpus_digest"],
                        .held_out_digest = file.value().metadata["held_out_digest"],
                        .model_config = model.value().config,
                        .weights = std::move(model.value().weights),
                        .states = {}};
  checkpoint.seconds = std::atof(file.value().metadata["seconds"].c_str());
  checkpoint.core_seconds = std::atof(file.value().metadata["core_seconds"].c_str());
  for (Tensor& tensor : file.value().tensors) {
    if (tensor.name == kStates) checkpoint.states = std::move(tensor.data);
  }
  if (!file.value().metadata.contains("weights_digest")) {
    return fail(path, "its metadata hold no 'weights_digest'", "it is no checkpoint of a run");
  }
  const std::string saved_states = file.value().metadata["states_digest"];
  if (checkpoint.states.empty() && saved_states != states_digest(checkpoint.step, {})) {
    return fail(path, fmt::format("tensor '{}' is missing", kStates),
                "copy the file again, or remove it to go on from the checkpoint before");
  }
  if (saved_states != states_digest(checkpoint.step, checkpoint.states)) {
    return fail(path, "its member states or its step are not those it was saved with",
                "the file is damaged; remove it to go on from the checkpoint before");
  }
  auto memory = read_rule(file.value(), model.value().program, checkpoint.step, path);
  if (!memory.ok()) return memory.status();
  checkpoint.memory = std::move(memory).value();
  return checkpoint;
}

}  // namespace

Result<Checkpoint> parse_checkpoint(std::string_view bytes, const std::string& name) {
  return to_checkpoint(parse_safetensors(bytes, name), name);
}

Result<Checkpoint> read_checkpoint(const std::string& path) {
  return to_checkpoint(read_safetensors(path), path);
}

bool has_checkpoint(const std::string& run) { return !list_checkpoints(run).empty(); }

Result<Checkpoint> read_last_checkpoint(const std::string& run) {
  auto path = model_file(run);
  if (!path.ok()) return path.status();
  return read_checkpoint(path.value());
}

std::vector<std::uint64_t> checkpoint_steps(const std::string& run) {
  std::vector<std::uint64_t> steps;
  for (const std::string& path : list_checkpoints(run)) {
    steps.push_back(std::strtoull(fs::path(path).filename().c_str() + std::strlen("step-"), nullptr, 10));
  }
  return steps;
}

std::optional<Result<Checkpoint>> read_checkpoint_at_or_before(const std::string& run, std::uint64_t step) {
  const auto paths = list_checkpoints(run);
  const auto after = std::upper_bound(paths.begin(), paths.end(), checkpoint_path(run, step));
  if (after == paths.begin()) return std::nullopt;
  return read_checkpoint(*(after - 1));
}

Result<std::string> model_file(const std::string& path) {
  std::error_code error;
  if (!fs::is_directory(path, error)) return path;
  const auto paths = list_checkpoints(path);
  if (paths.empty()) {
    return fail(path, "holds no checkpoint in checkpoints/",
                "name a run folder of `clutch train` or a .safetensors file");
  }
  return paths.back();
}

Result<Model> load_model(const std::string& path, std::optional<RuleMemory>* memory) {
  auto name = model_file(path);
  if (!name.ok()) return name.status();
  auto file = read_safetensors(name.value());
  if (!file.ok()) return file.status();
  auto model = to_model(file.value(), name.value());
  if (!model.ok() || memory == nullptr || !file.value().metadata.contains("step")) return model;
  auto step = metadata_number(file.value(), "step", name.value());
  if (!step.ok()) return step.status();
  auto remembered = read_rule(file.value(), model.value().program, step.value(), name.value());
  if (!remembered.ok()) return remembered.status();
  *memory = std::move(remembered).value();
  return model;
}

std::optional<Weights> seeded_start(const std::string& run, const Program& program) {
  if (!std::filesystem::is_directory(run)) return {};
  const auto config = read_config(run);
  if (!config.ok() || !config.value().init.empty()) return {};
  return initial_weights(program, static_cast<std::uint64_t>(config.value().seed));
}

void remove_temporaries(const std::string& run) {
  for (const std::string& folder : {run, checkpoints_path(run)}) {
    std::error_code error;
    std::vector<fs::path> stale;
    for (const auto& entry : fs::directory_iterator(folder, error)) {
      if (entry.path().filename().string().find(".tmp-") != std::string::npos) stale.push_back(entry.path());
    }
    for (const fs::path& path : stale) fs::remove(path, error);
  }
}

Status cut_metrics(const std::string& run, std::uint64_t step) {
  const std::string path = metrics_path(run);
  std::error_code error;
  if (!fs::exists(path, error)) return {};
  auto text = read_file(path, kMaxMetricsBytes);
  if (!text.ok()) return text.status();
  std::string kept;
  for (std::size_t begin = 0, end = 0; (end = text.value().find('\n', begin)) != std::string::npos;
       begin = end + 1) {
    const std::string line = text.value().substr(begin, end + 1 - begin);
    const auto json = nlohmann::json::parse(line, nullptr, false);
    const bool numbered = json.is_object() && json.contains("step") && json["step"].is_number_unsigned();
    if (numbered && json["step"].get<std::uint64_t>() <= step) kept += line;
  }
  return write_file_atomically(path, kept);
}

}  // namespace clutch
