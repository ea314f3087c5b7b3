// clutch inspect: the numbers inside a model, as a table or as JSON.
#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "backend/select.h"
#include "cli/commands.h"
#include "inspect/inspect.h"
#include "run/checkpoint.h"
#include "run/fitness_log.h"

namespace clutch::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  std::string model, backend = "cpu";
  std::vector<std::string> data;
  std::int64_t tokens = 4096;
  bool json = false;
};

// A run whose last step could not tell any pair's members apart.
void warn_of_ties(const std::string& path, std::vector<std::string>& warnings) {
  if (!std::filesystem::is_directory(path)) return;
  const auto log = read_log(log_path(path));
  if (!log.ok() || log.value().records.empty()) return;
  const LogRecord& last = log.value().records.back();
  for (const std::int8_t f : last.fitness) {
    if (f != 0) return;
  }
  warnings.push_back(tied_warning(last.step + 1));
}

Result<Inspection> inspect(const Options& options) {
  auto model = load_model(options.model);
  if (!model.ok()) return model.status();
  const Program& program = model.value().program;
  const auto start = seeded_start(options.model, program);
  Inspection result;
  result.tensors = inspect_weights(program, model.value().weights, start ? &*start : nullptr);
  if (!options.data.empty()) {
    auto corpus = load_corpus(options.data, static_cast<std::uint32_t>(program.vocab));
    if (!corpus.ok()) return corpus.status();
    if (corpus.value().tokens.size() < 2)
      return fail("--data", "holds a single token", "bring a longer text");
    auto backend = make_backend_for(program, NoiseShape(), options.backend, 1);
    if (!backend.ok()) return backend.status();
    announce(options.backend, *backend.value());
    CLUTCH_RETURN_IF_ERROR(backend.value()->load(program, NoiseShape(), model.value().weights));
    auto instructions = inspect_activations(*backend.value(), program, corpus.value(),
                                            static_cast<std::uint64_t>(options.tokens));
    if (!instructions.ok()) return instructions.status();
    result.instructions = std::move(instructions).value();
  }
  result.warnings = warnings_of(result);
  warn_of_ties(options.model, result.warnings);
  return result;
}

// Sixteen bars, the tallest full.
std::string bars(const Numbers& numbers) {
  static constexpr const char* kBars[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
  std::array<std::uint64_t, 16> bins{};
  for (int i = 0; i < 256; ++i) bins[i / 16] += numbers.histogram()[i];
  const std::uint64_t most = std::max<std::uint64_t>(1, *std::max_element(bins.begin(), bins.end()));
  std::string text;
  for (const std::uint64_t bin : bins) text += kBars[(bin * 8 + most - 1) / most];
  return text;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  return fmt::format("[{}]", fmt::join(shape, "]["));
}

class Table {
 public:
  explicit Table(bool colour) : colour_(colour) {}

  void head(const std::string& what, const std::string& more) {
    text += fmt::format("{:34} {:>12} {:>11} {:>7} {:>6} {:>8} {:>9} {:>7} {}  {}\n", what, "elements",
                        "range", "mean", "dev.", "entropy", "at end %", "zero %", more, "-128 to 127");
  }
  void row(const std::string& name, const std::string& size, const Numbers& n, const std::string& more) {
    const std::string range = fmt::format("{} to {}", n.least(), n.most());
    text += fmt::format("{:34} {:>12} {:>11} {:>7.2f} {:>6.2f} {:>8.2f} {} {:>7.2f} {}  {}\n", name, size,
                        range, n.mean(), n.deviation(), n.entropy(), marked(n.saturated()), 100 * n.zeros(),
                        more, bars(n));
  }
  void warning(const std::string& words) {
    text += (colour_ ? "\033[33mwarning:\033[0m " : "warning: ") + words + "\n";
  }
  std::string text;

 private:
  std::string marked(double share) const {
    const std::string plain = fmt::format("{:>9.2f}", 100 * share);
    return colour_ && share > 0.1 ? "\033[31m" + plain + "\033[0m" : plain;
  }
  bool colour_;
};

// What attention looks at, head by head; empty where there is none.
std::string heads_table(const std::vector<InstructionReport>& instructions) {
  std::string text;
  for (const InstructionReport& i : instructions) {
    for (std::size_t h = 0; h < i.heads.size(); ++h) {
      if (text.empty())
        text = fmt::format("\n{:34} {:>12} {:>8} {:>8} {:>8}\n", "attention of a head", "tokens", "entropy",
                           "at most", "share %");
      text += fmt::format("{:34} {:>12} {:>8.2f} {:>8.2f} {:>8.1f}\n", fmt::format("{} {}", i.slot, h),
                          i.heads[h].tokens, i.heads[h].bits, i.heads[h].most, 100 * i.heads[h].share());
    }
  }
  return text;
}

std::string as_table(const Inspection& inspection, bool colour) {
  Table table(colour);
  table.head("tensor", "moved %");
  for (const TensorReport& t : inspection.tensors) {
    table.row(t.name, shape_text(t.shape), t.numbers,
              t.moved ? fmt::format("{:>7.2f}", 100 * *t.moved) : fmt::format("{:>7}", "-"));
  }
  if (!inspection.instructions.empty()) {
    table.text += "\n";
    table.head("result of an instruction", "");
  }
  for (const InstructionReport& i : inspection.instructions)
    table.row(i.slot, std::to_string(i.numbers.count()), i.numbers, "");
  table.text += heads_table(inspection.instructions);
  if (!inspection.warnings.empty()) table.text += "\n";
  for (const std::string& words : inspection.warnings) table.warning(words);
  return table.text;
}

ordered_json to_json(const Numbers& n) {
  return {{"count", n.count()},         {"least", n.least()},         {"most", n.most()},
          {"mean", n.mean()},           {"deviation", n.deviation()}, {"entropy", n.entropy()},
          {"saturated", n.saturated()}, {"zero", n.zeros()},          {"histogram", n.histogram()}};
}

std::string as_json(const Inspection& inspection) {
  ordered_json tensors = ordered_json::array(), instructions = ordered_json::array();
  for (const TensorReport& t : inspection.tensors) {
    ordered_json entry = {{"name", t.name}, {"shape", t.shape}};
    entry.update(to_json(t.numbers));
    if (t.moved) entry["moved"] = *t.moved;
    tensors.push_back(std::move(entry));
  }
  for (const InstructionReport& i : inspection.instructions) {
    ordered_json entry = {{"name", i.slot}, {"instruction", i.instruction}};
    entry.update(to_json(i.numbers));
    for (const HeadEntropy& head : i.heads)
      entry["heads"].push_back({{"tokens", head.tokens}, {"entropy", head.bits}, {"most", head.most}});
    instructions.push_back(std::move(entry));
  }
  const ordered_json all = {
      {"tensors", tensors}, {"instructions", instructions}, {"warnings", inspection.warnings}};
  return all.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

Status run(const Options& options) {
  if (options.tokens < 1 || options.tokens > 1 << 24) {
    return fail("--tokens", fmt::format("{} is outside 1..16777216", options.tokens), "4096 is the default");
  }
  const auto inspection = inspect(options);
  if (!inspection.ok()) return inspection.status();
  if (options.json) return write_stdout(as_json(inspection.value()));
  const bool colour = isatty(STDOUT_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
  return write_stdout(as_table(inspection.value(), colour));
}

}  // namespace

void add_inspect(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("inspect", "Look at a model's weights and, on a text, at what it computes");
  command->footer(
      "clutch inspect run\nclutch inspect run --data held-out.txt\nclutch inspect run --json | jq .warnings");
  command->add_option("model", options->model, "Run folder, checkpoint or imported .safetensors")
      ->required()
      ->check(kNotEmpty);
  command->add_option("--data", options->data, "Text to compute on, in every form that `clutch train` takes");
  command
      ->add_option("--tokens", options->tokens,
                   "How many tokens of it, in windows of 256 spread over the text")
      ->capture_default_str()
      ->check(kInteger);
  command->add_option("--backend", options->backend, "Where to compute")->capture_default_str();
  command->add_flag("--json", options->json, "Print JSON, with whole histograms");
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
