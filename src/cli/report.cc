// clutch report: a run as one page.
#include <fmt/format.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "backend/select.h"
#include "base/files.h"
#include "cli/commands.h"
#include "report/report.h"
#include "run/checkpoint.h"
#include "run/fitness_log.h"

namespace clutch::cli {
namespace {

constexpr std::uint64_t kMostMetricsBytes = std::uint64_t{1} << 32;

struct Options {
  std::string run, out;
};

std::string value_text(const nlohmann::ordered_json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The knobs, as config.json has them.
void add_config(const std::string& run, RunReport& report) {
  const auto config = read_config(run);
  if (!config.ok()) {
    report.notes.push_back(config.status().message());
    return;
  }
  const auto object = nlohmann::ordered_json::parse(to_json(config.value()), nullptr, false);
  for (const auto& [key, value] : object.items()) report.config.emplace_back(key, value_text(value));
}

void add_metrics(const std::string& run, RunReport& report) {
  const auto text = read_file(metrics_path(run), kMostMetricsBytes);
  if (!text.ok()) {
    report.notes.push_back(text.status().message());
    return;
  }
  report.metrics = parse_metrics(text.value());
  if (report.metrics.unreadable > 0)
    report.notes.push_back(
        fmt::format("{} lines of metrics.jsonl cannot be read", report.metrics.unreadable));
  if (report.metrics.lines.empty()) return;
  const MetricsLine& last = report.metrics.lines.back();
  report.facts = {{"steps", std::to_string(last.step)},
                  {"evaluated tokens", fmt::format("{:.0f}", last.tokens)},
                  {"seconds", fmt::format("{:.0f}", last.seconds)},
                  {"bits, with noise", fmt::format("{:.4f}", last.bits)}};
  if (last.core_seconds)
    report.facts.emplace_back("core-hours", fmt::format("{:.4f}", *last.core_seconds / 3600));
  if (last.distinct_tokens)
    report.facts.emplace_back("different tokens read", fmt::format("{:.0f}", *last.distinct_tokens));
  for (auto line = report.metrics.lines.rbegin(); line != report.metrics.lines.rend(); ++line) {
    if (!line->valid_bits) continue;
    report.facts.emplace_back("bits, held out",
                              fmt::format("{:.4f} at step {}", *line->valid_bits, line->step));
    break;
  }
  report.facts.emplace_back("digest", last.digest);
}

void add_log(const std::string& run, RunReport& report) {
  const auto log = read_log(log_path(run));
  if (!log.ok()) {
    report.notes.push_back(log.status().message());
    return;
  }
  if (!log.value().torn.empty()) report.notes.push_back(log.value().torn);
  if (!log.value().damage.ok()) report.notes.push_back(log.value().damage.message());
  report.facts.emplace_back("digest before step 1", fmt::format("{:016x}", log.value().header.start_digest));
}

void add_model(const std::string& run, RunReport& report) {
  auto model = load_model(run);
  if (!model.ok()) {
    report.notes.push_back(model.status().message());
    return;
  }
  const auto start = seeded_start(run, model.value().program);
  Inspection inspection;
  inspection.tensors =
      inspect_weights(model.value().program, model.value().weights, start ? &*start : nullptr);
  inspection.warnings = warnings_of(inspection);
  report.facts.emplace_back("parameters", std::to_string(model.value().program.parameters()));
  report.inspection = std::move(inspection);
}

Status run(const Options& options) {
  if (!std::filesystem::is_directory(options.run)) {
    return fail(options.run, "is no run folder", "name the --out of a `clutch train`");
  }
  RunReport report{.title = "Clutch run " + std::filesystem::path(options.run).filename().string()};
  add_metrics(options.run, report);
  add_log(options.run, report);
  add_model(options.run, report);
  add_config(options.run, report);
  if (report.config.empty() && report.metrics.lines.empty()) {
    return fail(options.run, "holds neither config.json nor metrics.jsonl that can be read",
                "name the --out of a `clutch train`");
  }
  report.facts.emplace_back("written by", "clutch " CLUTCH_VERSION);
  if (auto backend = make_backend("cpu", 1); backend.ok())
    report.facts.emplace_back("on a machine with", backend.value()->name());
  const std::string page = report_html(report);
  if (options.out == "-") return write_stdout(page);
  CLUTCH_RETURN_IF_ERROR(write_file_atomically(options.out, page));
  say(fmt::format("{}: {} bytes\n", options.out, page.size()));
  return {};
}

}  // namespace

void add_report(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("report", "Write a run as one page of HTML that needs nothing else");
  command->footer("clutch report run -o report.html");
  command->add_option("run", options->run, "Run folder")->required()->check(kNotEmpty);
  command->add_option("-o,--out", options->out, "The page; - for standard output")
      ->required()
      ->check(kNotEmpty);
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
