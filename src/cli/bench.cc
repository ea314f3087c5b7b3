// clutch bench: verify, then time, then compare.
#include <fmt/format.h>

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "backend/select.h"
#include "bench/bench.h"
#include "cli/commands.h"

namespace clutch::cli {
namespace {

using bench::Measurement;
using bench::Spread;
using bench::SuiteRow;

struct Options {
  bench::Case what;
  bench::Options how;
  std::string format = "table";
  std::string text;
  bool suite = false;
  bool no_verify = false;
};

nlohmann::ordered_json to_json(const Spread& s) {
  return {{"median", s.median}, {"least", s.least}, {"most", s.most}};
}

nlohmann::ordered_json to_json(const bench::Speed& speed) {
  return {{"seconds", to_json(speed.seconds)},
          {"tokens_per_second", to_json(speed.tokens_per_second)},
          {"tera_ops", to_json(speed.tera_ops)},
          {"of_peak", to_json(speed.of_peak)}};
}

const char* name_of(bench::Text text) { return text == bench::Text::kStories ? "stories" : "uniform"; }

std::string as_json(const Measurement& m) {
  nlohmann::ordered_json phases = nlohmann::ordered_json::object();
  for (const bench::Phase& phase : m.phases) phases[phase.name] = phase.share;
  const nlohmann::ordered_json all = {{"version", CLUTCH_VERSION},
                                      {"backend", m.backend},
                                      {"threads", m.threads},
                                      {"clock", m.cpu_clock ? "cpu" : "wall"},
                                      {"arch", m.what.model.arch},
                                      {"dim", m.what.model.dim},
                                      {"layers", m.what.model.layers},
                                      {"tokens", m.what.tokens},
                                      {"population", m.what.population},
                                      {"text", name_of(m.what.text)},
                                      {"peak_tera_ops", to_json(m.peak_tera_ops)},
                                      {"inference", to_json(m.inference)},
                                      {"noisy", to_json(m.noisy)},
                                      {"step", to_json(m.step)},
                                      {"step_over_inference", to_json(m.step_over_inference.spread)},
                                      {"repeats", m.repeated.all},
                                      {"undisturbed", m.repeated.undisturbed},
                                      {"disturbed", m.repeated.disturbed},
                                      {"additions_per_cycle", to_json(m.additions_per_cycle)},
                                      {"computed", m.computed},
                                      {"phases", phases}};
  return all.dump(2) + "\n";
}

std::string as_csv(const Measurement& m) {
  std::string text =
      "backend,threads,clock,dim,layers,tokens,population,work,tokens_per_second,least,most,tera_ops,of_peak,"
      "repeats,undisturbed,text,computed\n";
  const auto row = [&](const char* work, const bench::Speed& s) {
    text +=
        fmt::format("{},{},{},{},{},{},{},{},{:.0f},{:.0f},{:.0f},{:.4f},{:.4f},{},{},{},{:.4f}\n", m.backend,
                    m.threads, m.cpu_clock ? "cpu" : "wall", m.what.model.dim, m.what.model.layers,
                    m.what.tokens, m.what.population, work, s.tokens_per_second.median,
                    s.tokens_per_second.least, s.tokens_per_second.most, s.tera_ops.median, s.of_peak.median,
                    m.repeated.all, m.repeated.undisturbed, name_of(m.what.text), m.computed);
  };
  row("inference", m.inference);
  row("noisy", m.noisy);
  row("step", m.step);
  return text;
}

std::string words(const bench::Repeated& repeated) {
  if (!repeated.disturbed)
    return fmt::format("of {} steps the {} undisturbed ones count", repeated.all, repeated.undisturbed);
  return fmt::format(
      "all {} steps count, {} of them undisturbed: others used the cores (wait for them with --patience "
      "SECONDS)",
      repeated.all, repeated.undisturbed);
}

std::string as_table(const Measurement& m) {
  const bool on_processor = m.additions_per_cycle.median > 0;  // which has threads and neighbours
  const bool has_peak = m.peak_tera_ops.median > 0;
  std::string text = fmt::format("{}{}, {} clock, {}, text: {}\n", m.backend,
                                 on_processor ? fmt::format(", {} threads", m.threads) : "",
                                 m.cpu_clock ? "cpu" : "wall", m.what.name(), name_of(m.what.text));
  if (has_peak) {
    text += fmt::format("peak of register-only products: {:.3f} TOPS ({:.3f} to {:.3f})\n",
                        m.peak_tera_ops.median, m.peak_tera_ops.least, m.peak_tera_ops.most);
  }
  text += fmt::format("\n{:12} {:>14} {:>27} {:>8}{}\n", "", "member-tokens/s", "least to most", "TOPS",
                      has_peak ? "   of peak" : "");
  const auto row = [&](const char* work, const bench::Speed& s) {
    text += fmt::format("{:12} {:>15.0f} {:>12.0f} to {:>11.0f} {:>8.3f}{}\n", work,
                        s.tokens_per_second.median, s.tokens_per_second.least, s.tokens_per_second.most,
                        s.tera_ops.median, has_peak ? fmt::format(" {:>9.3f}", s.of_peak.median) : "");
  };
  row("inference", m.inference);
  row("with noise", m.noisy);
  row("step", m.step);
  if (m.computed < 1) {
    text += fmt::format(
        "\nof the products, {:.1f} % are computed; the rest repeat a row of a token that came "
        "before in the same window\n",
        100 * m.computed);
  }
  text += fmt::format("\nstep over inference: {:.3f}\n", m.step_over_inference.spread.median);
  if (on_processor) {
    text +=
        fmt::format("{}\nadditions per cycle: {:.2f} ({:.2f} to {:.2f})\n", words(m.repeated),
                    m.additions_per_cycle.median, m.additions_per_cycle.least, m.additions_per_cycle.most);
  }
  if (!m.phases.empty()) text += "\nof a step's time on all threads:\n";
  for (const bench::Phase& phase : m.phases)
    text += fmt::format("  {:18} {:>6.2f} %\n", phase.name, 100 * phase.share);
  return text;
}

std::string suite_table(const std::vector<SuiteRow>& rows) {
  std::string text = fmt::format("{:74} {:>8} {:>9} {:>9} {:>8} {:>12}\n", "", "reached", "at least",
                                 "computed", "repeats", "undisturbed");
  for (const SuiteRow& row : rows) {
    if (row.missing.empty()) {
      text += fmt::format("{:74} {:>8.3f} {:>9.2f} {:>9} {:>8} {:>12}{}{}\n", row.what, row.reached,
                          row.at_least, row.computed ? fmt::format("{:.3f}", *row.computed) : "",
                          row.repeated.all, row.repeated.undisturbed, row.falls_short() ? "  SHORT" : "",
                          row.repeated.disturbed ? "  disturbed" : "");
    } else {
      text += fmt::format("{:74} {:>8} {:>9.2f}  {}\n", row.what, "-", row.at_least, row.missing);
    }
  }
  return text;
}

Status run(Options& options) {
  options.how.verify = !options.no_verify;
  const bool bytes = options.what.model.vocab == 256;
  if (options.text == "stories" && !bytes) {
    return fail("--text", fmt::format("stories are bytes, and --vocab is {}", options.what.model.vocab),
                "choose --text uniform, or --vocab 256");
  }
  options.what.text = options.text == "uniform" || !bytes ? bench::Text::kUniform : bench::Text::kStories;
  if (has_window(options.what.model.arch)) options.what.model.window = options.what.tokens;
  if (options.suite) {
    const auto rows = bench::run_suite(options.how, [](const std::string& what) { say(what + "\n"); });
    CLUTCH_RETURN_IF_ERROR(write_stdout(suite_table(rows)));
    int fell = 0, disturbed = 0;
    for (const SuiteRow& row : rows) {
      fell += row.falls_short();
      disturbed += row.falls_short() && row.repeated.disturbed;
    }
    if (fell == 0) return {};
    return fail("bench",
                fmt::format("{} of {} rows fall short, {} of them while others used the cores", fell,
                            rows.size(), disturbed),
                "try again on an idle machine, or wait longer for it to be idle with --patience SECONDS");
  }
  auto m = bench::measure(options.what, options.how);
  if (!m.ok()) return m.status();
  return write_stdout(options.format == "json"  ? as_json(m.value())
                      : options.format == "csv" ? as_csv(m.value())
                                                : as_table(m.value()));
}

}  // namespace

void add_bench(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  options->what.model.dim = 512;
  options->what.model.layers = 4;
  options->how.threads = default_threads();
  CLI::App* command =
      app.add_subcommand("bench", "Measure inference and training steps against this machine's peak");
  command->add_option("--backend", options->how.backend, "What to measure")->capture_default_str();
  command->add_option("-t,--threads", options->how.threads, "Threads")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  command
      ->add_option("--arch", options->what.model.arch, "Architecture; its window is --tokens, if it has one")
      ->capture_default_str();
  command->add_option("--dim", options->what.model.dim, "Width D")->capture_default_str();
  command->add_option("--layers", options->what.model.layers, "Layers L")->capture_default_str();
  command->add_option("--vocab", options->what.model.vocab, "Vocabulary")->capture_default_str();
  command->add_option("--tokens", options->what.tokens, "Tokens per member and step")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--population", options->what.population, "Members, an even number")
      ->check(CLI::Range(2, 1 << 24) & CLI::Validator(
                                           [](std::string& text) {
                                             return (text.back() - '0') % 2 == 0 ? std::string()
                                                                                 : text + " is odd";
                                           },
                                           "EVEN"))
      ->capture_default_str();
  command
      ->add_option("--text", options->text,
                   "stories, built in, whose bytes come again like those of English, so that less has to be "
                   "computed; or uniform, tokens drawn at random. Default: stories where --vocab is 256")
      ->check(CLI::IsMember({"stories", "uniform"}));
  command->add_option("--rank", options->what.noise.rank, "Rank of the noise")->capture_default_str();
  command->add_option("--warmups", options->how.warmups, "Steps before timing starts")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  command->add_option("--repeats", options->how.repeats, "Timed steps")
      ->check(CLI::Range(1, 10000))
      ->capture_default_str();
  command
      ->add_option(
          "--patience", options->how.patience,
          "Repeat for up to so many seconds until --repeats steps were undisturbed by other guests of the "
          "host; --suite waits 30 at least for each measurement")
      ->check(CLI::Range(0.0, 1e6))
      ->capture_default_str();
  command->add_option("--format", options->format, "table, csv or json")
      ->check(CLI::IsMember({"table", "csv", "json"}))
      ->capture_default_str();
  command->add_flag("--phases", options->how.phases, "Also show where a step's time goes");
  command->add_flag("--no-verify", options->no_verify, "Do not compare with the reference first");
  command->add_flag(
      "--cpu-clock", options->how.cpu_clock,
      "Count the processor time of this process, not the time on the wall: for machines that others use");
  command->add_flag("--pin", options->how.pinned, "Keep each worker thread on its own processor");
  command->add_flag("--suite", options->suite, "Measure every target; exit 1 where one is missed");
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
