#include "run/diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "backend/select.h"
#include "run/checkpoint.h"
#include "run/replay.h"

namespace clutch {
namespace {

bool is_run(const std::string& path) {
  std::error_code error;
  return std::filesystem::exists(log_path(path), error);
}

// A model, and what its rule remembers where that is known.
struct Side {
  Weights weights;
  std::optional<RuleMemory> memory;
};

// A line per tensor that differs, the first element with both values; nothing where all are equal. `what` is
// added to the tensors' names.
template <class T>
std::string compare_values(const Program& program, const std::string& what,
                           const std::vector<std::vector<T>>& a, const std::vector<std::vector<T>>& b) {
  std::string text;
  for (std::size_t t = 0; t < a.size(); ++t) {
    const auto [in_a, in_b] = std::mismatch(a[t].begin(), a[t].end(), b[t].begin());
    if (in_a == a[t].end()) continue;
    std::size_t count = 0;
    for (std::size_t i = 0; i < a[t].size(); ++i) count += a[t][i] != b[t][i];
    const TensorSpec& tensor = program.tensors[t];
    const std::int64_t place = in_a - a[t].begin(), row = exact::divide_floor(place, tensor.cols);
    text += fmt::format("{}{}: {} of {} differ, first [{}][{}]: {} and {}\n", tensor.label(), what, count,
                        tensor.size(), row, place - row * tensor.cols, *in_a, *in_b);
  }
  return text;
}

// Weights, then what the rule remembers, where both sides have it.
std::string compare(const Program& program, const Side& a, const Side& b) {
  std::string text = compare_values(program, "", a.weights, b.weights);
  if (!a.memory || !b.memory) return text;
  const exact::RuleEntry &rule = exact::entry(a.memory->rule), &other = exact::entry(b.memory->rule);
  if (a.memory->rule != b.memory->rule)
    return text + fmt::format("their rules differ: {} and {}\n", rule.name, other.name);
  for (std::size_t k = 0; k < a.memory->state.size(); ++k) {
    text += compare_values(program, fmt::format(".{}", rule.states[k].name), a.memory->state[k],
                           b.memory->state[k]);
  }
  return text;
}

Status check_same_program(const Program& a, const Program& b, const std::string& name) {
  const auto same = [](const TensorSpec& x, const TensorSpec& y) {
    return x.name == y.name && x.layer == y.layer && x.rows == y.rows && x.cols == y.cols;
  };
  if (std::equal(a.tensors.begin(), a.tensors.end(), b.tensors.begin(), b.tensors.end(), same)) return {};
  return fail(name, "is of another architecture or size", "compare models of one shape");
}

Result<Side> side_after(const Recording& recording, const Program& program, std::uint64_t step) {
  auto backend = make_backend("cpu", default_threads());
  if (!backend.ok()) return backend.status();
  auto from = nearest_standpoint(recording, program, step);
  if (!from.ok()) return from.status();
  CLUTCH_RETURN_IF_ERROR(
      replay(recording, program, from.value(), step, *backend.value(), [](std::uint64_t) {}));
  Side side{.weights = {}, .memory = RuleMemory{.rule = optimiser(recording.config).rule, .state = {}}};
  CLUTCH_RETURN_IF_ERROR(backend.value()->read_weights(side.weights, &side.memory->state));
  return side;
}

Result<Difference> diff_runs(const std::string& a, const std::string& b) {
  auto first = read_recording(a), second = read_recording(b);
  if (!first.ok()) return first.status();
  if (!second.ok()) return second.status();
  auto program = build_program(first.value().model_config, population(first.value().config).noise);
  auto other = build_program(second.value().model_config, population(second.value().config).noise);
  if (!program.ok()) return program.status();
  if (!other.ok()) return other.status();
  CLUTCH_RETURN_IF_ERROR(check_same_program(program.value(), other.value(), b));

  const auto &log = first.value().log, &log_b = second.value().log;
  std::string damage;  // what of either log was not compared
  for (const FitnessLog* each : {&log, &log_b}) {
    if (!each->torn.empty()) damage += "note: " + each->torn + "\n";
    if (!each->damage.ok()) damage += "note: " + each->damage.message() + "\n";
  }
  const std::size_t shared = std::min(log.records.size(), log_b.records.size());
  std::size_t step = 0;
  const bool same_start = log.header.start_digest == log_b.header.start_digest;
  while (same_start && step < shared && log.records[step] == log_b.records[step]) ++step;
  if (same_start && step == shared) {
    return Difference{true, fmt::format("equal in all {} steps both have ({} and {})\n", shared,
                                        log.records.size(), log_b.records.size()) +
                                damage};
  }
  const std::uint64_t made = same_start ? step + 1 : 0;
  auto side = side_after(first.value(), program.value(), made),
       side_b = side_after(second.value(), program.value(), made);
  std::string text =
      same_start ? fmt::format("they part at step {}\n", made) : "they start from different weights\n";
  if (same_start) {
    const auto &fitness = log.records[step].fitness, &fitness_b = log_b.records[step].fitness;
    if (fitness.size() == fitness_b.size()) {
      std::size_t pairs = 0;
      for (std::size_t p = 0; p < fitness.size(); ++p) pairs += fitness[p] != fitness_b[p];
      text += fmt::format("fitness of {} of {} pairs differs there, the sum of losses {}\n", pairs,
                          fitness.size(), log.records[step].loss == log_b.records[step].loss ? "not" : "too");
    } else {
      text += fmt::format("they have {} and {} pairs\n", fitness.size(), fitness_b.size());
    }
  }
  // Of a log that was tampered with, weights may not follow.
  for (const Status& status : {side.status(), side_b.status()}) {
    if (!status.ok()) text += status.message() + "\n";
  }
  if (side.ok() && side_b.ok()) {
    const std::string differing = compare(program.value(), side.value(), side_b.value());
    text += differing.empty() ? "their weights are equal there\n" : differing;
  }
  return Difference{false, text + damage};
}

}  // namespace

Result<Difference> diff(const std::string& a, const std::string& b) {
  if (is_run(a) && is_run(b)) return diff_runs(a, b);
  Side side, side_b;
  auto first = load_model(a, &side.memory), second = load_model(b, &side_b.memory);
  if (!first.ok()) return first.status();
  if (!second.ok()) return second.status();
  CLUTCH_RETURN_IF_ERROR(check_same_program(first.value().program, second.value().program, b));
  side.weights = std::move(first.value().weights), side_b.weights = std::move(second.value().weights);
  const std::string text = compare(first.value().program, side, side_b);
  const std::string note =
      side.memory.has_value() == side_b.memory.has_value()
          ? ""
          : fmt::format("note: {} is of no run, so what a rule remembers is not compared\n",
                        side.memory ? b : a);
  return Difference{text.empty(), (text.empty() ? "equal\n" : text) + note};
}

}  // namespace clutch
