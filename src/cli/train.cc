// clutch train: learns from text, showing how it goes, and leaves a run folder.
#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <memory>
#include <set>

#include "base/files.h"
#include "cli/commands.h"
#include "run/exchange.h"
#include "run/trainer.h"

namespace clutch::cli {
namespace {

std::atomic<bool> stop_requested{false};

// The first Ctrl-C asks for an end, the second takes it.
void on_interrupt(int signal) {
  stop_requested = true;
  std::signal(signal, SIG_DFL);
}

std::string format_duration(double seconds) {
  const auto s = static_cast<long>(seconds + 0.5);
  if (s < 60) return fmt::format("{}s", s);
  if (s < 3600) return fmt::format("{}m{:02}s", s / 60, s % 60);
  return fmt::format("{}h{:02}m", s / 3600, s / 60 % 60);
}

std::string format_count(double count) {
  if (count >= 1e9) return fmt::format("{:.2f}G", count / 1e9);
  if (count >= 1e6) return fmt::format("{:.2f}M", count / 1e6);
  if (count >= 1e3) return fmt::format("{:.1f}k", count / 1e3);
  return fmt::format("{:.0f}", count);
}

std::size_t terminal_width() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1 ? size.ws_col - 1u : 79u;
}

// One line that rewrites itself on a terminal, plain lines elsewhere.
class Progress : public TrainObserver {
 public:
  Progress(const Trainer& trainer, std::int64_t log_every)
      : steps_(static_cast<std::uint64_t>(trainer.config().steps)),
        tokens_per_step_(
            static_cast<double>(trainer.config().population * trainer.config().tokens_per_update)),
        log_every_(static_cast<std::uint64_t>(log_every)),
        terminal_(isatty(STDERR_FILENO) != 0),
        first_step_(trainer.step()),
        start_(Clock::now()) {}

  void on_step(const StepReport& report) override {
    show(report);
    if (!report.inspection) return;
    for (const std::string& words : report.inspection->warnings) {
      say(fmt::format("{}warning: step {}: {}\n", terminal_ ? "\r\x1b[K" : "", report.step, words));
    }
  }

  void show(const StepReport& report) {
    const double share = std::max(0.02, 1.0 / static_cast<double>(report.step - first_step_));
    smoothed_ += share * (report.bits_per_byte - smoothed_);
    const double elapsed = std::chrono::duration<double>(Clock::now() - start_).count();
    const bool keep = report.valid_bits_per_byte || report.step == steps_ ||
                      (log_every_ > 0 && report.step % log_every_ == 0);
    const double pause = terminal_ ? 0.1 : 5.0;
    if (!keep && (elapsed - shown_ < pause || (!terminal_ && log_every_ > 0))) return;
    shown_ = elapsed;
    const double per_second = static_cast<double>(report.step - first_step_) / elapsed;
    std::string line = fmt::format(
        "step {}/{}  {:.4f} bits/byte  smoothed {:.4f}  {} tokens/s  moved {:.2f}%  tied {:.2f}%  left {}",
        report.step, steps_, report.bits_per_byte, smoothed_, format_count(per_second * tokens_per_step_),
        100 * report.moved, 100 * report.tied,
        format_duration(static_cast<double>(steps_ - report.step) / per_second));
    if (keep) line += fmt::format("  digest {:016x}", report.digest);
    if (report.valid_bits_per_byte) line += fmt::format("  held-out {:.4f}", *report.valid_bits_per_byte);
    if (terminal_ && !keep)
      line = line.substr(0, terminal_width());  // a line that wraps cannot rewrite itself
    if (terminal_)
      say(fmt::format("\r\x1b[K{}{}", line, keep ? "\n" : ""));
    else
      say(fmt::format("{}\n", line));
  }

  void on_sample(std::uint64_t step, const std::string& text) override {
    say(fmt::format("{}--- at step {} it writes:\n{}\n---\n", terminal_ ? "\r\x1b[K" : "", step,
                    terminal_ ? printable(text) : text));
  }

  void on_checkpoint(std::uint64_t) override {}

 private:
  using Clock = std::chrono::steady_clock;
  const std::uint64_t steps_;
  const double tokens_per_step_;
  const std::uint64_t log_every_;
  const bool terminal_;
  const std::uint64_t first_step_;
  const Clock::time_point start_;
  double smoothed_ = 0, shown_ = -1;
};

struct Options {
  RunConfig flags;
  std::set<std::string> given;  // names of the knobs given as flags
  std::string out = "run", resume, config_file;
  std::int64_t log_every = 0, timeout = 600;
};

// What the flags say, over what `base` says.
Status apply_flags(const Options& options, bool resuming, RunConfig& base) {
  for (const Knob& knob : knobs()) {
    if (!options.given.contains(knob.name)) continue;
    const RunConfig before = base;
    bool changed = false;
    std::visit(
        [&](auto field) {
          changed = base.*field != options.flags.*field;
          base.*field = options.flags.*field;
        },
        knob.field);
    if (resuming && changed && knob.group == KnobGroup::kMeaning) {
      return fail(
          std::string("--") + knob.name, "differs from the run's config.json",
          "leave it out to go on with the run as it is, or start another with --init " + options.resume);
    }
  }
  return {};
}

// The configuration of a new run, or of the run to resume, with the flags on top.
Result<RunConfig> make_config(const Options& options) {
  const bool resuming = !options.resume.empty();
  RunConfig config;
  if (resuming) {
    auto saved = read_config(options.resume);
    if (!saved.ok()) return saved.status();
    config = std::move(saved).value();
  } else if (!options.config_file.empty()) {
    auto text = read_file(options.config_file, 1 << 20);
    if (!text.ok()) return text.status();
    auto parsed = config_from_json(text.value(), options.config_file);
    if (!parsed.ok()) return parsed.status();
    config = std::move(parsed).value();
  }
  CLUTCH_RETURN_IF_ERROR(apply_flags(options, resuming, config));
  return config;
}

// Of a resumed run only rank 0 has the folder, and each rank its own backend and threads.
Result<RunConfig> share_config(const Options& options, Cluster& cluster) {
  if (options.resume.empty()) return make_config(options);
  auto config = cluster.writes() ? make_config(options) : Result<RunConfig>(RunConfig());
  CLUTCH_RETURN_IF_ERROR(agree(cluster, config.status()));
  auto shared = from_rank_0(cluster, to_json(config.value()));
  if (!shared.ok()) return shared.status();
  auto parsed = config_from_json(shared.value(), config_path(options.resume));
  if (!parsed.ok()) return parsed.status();
  if (!cluster.writes() && options.given.contains("data")) parsed.value().data = options.flags.data;
  if (!cluster.writes() && options.given.contains("valid")) parsed.value().valid = options.flags.valid;
  if (options.given.contains("backend")) parsed.value().backend = options.flags.backend;
  if (options.given.contains("threads")) parsed.value().threads = options.flags.threads;
  return parsed;
}

void introduce(const Trainer& trainer, const Cluster& cluster, const std::string& folder) {
  const std::string ranks = cluster.size() == 1 ? "" : fmt::format(" on {} ranks", cluster.size());
  say(fmt::format(
      "{}: {} parameters; {} tokens to train on, {} held out; {} with {} members{}; run folder {}\n",
      trainer.config().arch, format_count(static_cast<double>(trainer.program().parameters())),
      format_count(static_cast<double>(trainer.corpus().tokens.size())),
      format_count(static_cast<double>(trainer.held_out().tokens.size())), trainer.backend().name(),
      trainer.config().population, ranks, folder));
  announce(trainer.config().backend, trainer.backend());
  say("memory: " + trainer.memory_plan() + "\n");
  for (const std::string& note : trainer.notes()) say(fmt::format("note: {}\n", note));
  if (trainer.step() > 0) say(fmt::format("going on from step {}\n", trainer.step()));
}

void conclude(const Trainer& trainer, const Cluster& cluster, const std::string& folder) {
  if (cluster.size() > 1) say(fmt::format("each rank sent {} bytes a step\n", trainer.bytes_per_step()));
  if (const LogCost log = trainer.log_cost(); log.records > 0) {
    const auto records = static_cast<double>(log.records);
    say(fmt::format("log: {} bytes and {:.1f} us a step, {:.3f}% of the training\n", log.bytes / log.records,
                    1e6 * log.seconds / records, 100 * log.seconds / trainer.seconds_trained()));
  }
  say(fmt::format("cost: {:.4f} core-hours for {} evaluated tokens, of {} different ones in the text\n",
                  trainer.core_seconds() / 3600,
                  format_count(static_cast<double>(trainer.evaluated_tokens())),
                  format_count(static_cast<double>(trainer.distinct_tokens()))));
  if (trainer.step() < static_cast<std::uint64_t>(trainer.config().steps)) {
    say(fmt::format("\nstopped and saved at step {}; go on with: clutch train --resume {}\n", trainer.step(),
                    folder));
  } else {
    say(fmt::format("done and saved; let it write with: clutch generate -m {}\n", folder));
  }
}

Status train(const Options& options, Cluster& cluster) {
  auto config = share_config(options, cluster);
  if (!config.ok()) return config.status();
  auto made = options.resume.empty() ? Trainer::create(options.out, config.value(), cluster)
                                     : Trainer::resume(options.resume, config.value(), cluster);
  if (!made.ok()) return made.status();
  Trainer& trainer = *made.value();
  const std::string& folder = options.resume.empty() ? options.out : options.resume;
  if (cluster.writes()) introduce(trainer, cluster, folder);
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
  Progress progress(trainer, options.log_every);
  CLUTCH_RETURN_IF_ERROR(trainer.train(progress, stop_requested));
  if (cluster.writes()) conclude(trainer, cluster, folder);
  return {};
}

int run(const Options& options) {
  std::unique_ptr<Cluster> cluster;
  const int exit_status = run_command([&]() -> Status {
    if (options.log_every < 0) {
      return fail("--log-every", fmt::format("{} is below 0", options.log_every),
                  "0 is for every few seconds");
    }
    if (options.timeout < 1 || options.timeout > 1000000) {
      return fail("--timeout", fmt::format("{} is outside 1..1000000", options.timeout),
                  "600 seconds are the default");
    }
    auto joined = join_cluster(static_cast<int>(options.timeout));
    if (!joined.ok()) return joined.status();
    cluster = std::move(joined).value();
    return train(options, *cluster);
  });
  if (exit_status != 0 && cluster) cluster->abandon();
  return exit_status;
}

}  // namespace

void add_train(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("train", "Learn from a text");
  command->footer(
      "A new run:   clutch train --data book.txt --out run\n"
      "To go on:    clutch train --resume run --steps 5000\n"
      "Like before: clutch train --config run/config.json --seed 2 --out run2\n"
      "Many ranks:  mpirun -n 2 --bind-to none clutch train --threads 1 --data book.txt --out run\n"
      "Ctrl-C finishes the step, saves, and says how to go on.");
  CLI::Option* out = command->add_option("-o,--out", options->out, "Run folder to make");
  out->capture_default_str()->check(kNotEmpty);
  CLI::Option* config = command->add_option("--config", options->config_file,
                                            "Take knobs from this config.json; flags override it");
  config->check(kNotEmpty);
  command
      ->add_option("--resume", options->resume,
                   "Run folder to go on with, exactly as if it had never stopped")
      ->check(kNotEmpty)
      ->excludes(out)
      ->excludes(config);
  command
      ->add_option("--log-every", options->log_every,
                   "Print a line every so many steps; 0: every few seconds")
      ->check(kInteger);
  command
      ->add_option("--timeout", options->timeout,
                   "Of several ranks: seconds of silence after which the job ends")
      ->capture_default_str()
      ->check(kInteger);
  std::vector<std::pair<std::string, CLI::Option*>> flags;
  for (const Knob& knob : knobs()) {
    std::visit(
        [&](auto field) {
          CLI::Option* option =
              command->add_option(std::string("--") + knob.name, options->flags.*field, knob.help);
          option->capture_default_str();
          if constexpr (std::is_same_v<decltype(field), std::int64_t RunConfig::*>) option->check(kInteger);
          flags.emplace_back(knob.name, option);
        },
        knob.field);
  }
  command->callback([options, flags, &exit_status] {
    for (const auto& [name, option] : flags) {
      if (option->count() > 0) options->given.insert(name);
    }
    exit_status = run(*options);
  });
}

}  // namespace clutch::cli
