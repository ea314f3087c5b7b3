// clutch replay, pack, audit and diff: what the fitness log is good for.
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <limits>
#include <memory>

#include "backend/select.h"
#include "base/files.h"
#include "cli/commands.h"
#include "run/audit.h"
#include "run/checkpoint.h"
#include "run/diff.h"
#include "run/pack.h"
#include "run/text.h"

namespace clutch::cli {
namespace {

struct Options {
  std::string run, other, out, backend = "cpu";
  std::int64_t to = -1, threads = 0, samples = 100, seed = 0;
  std::vector<std::string> data;
  bool all = false;
};

// A recording, its program and a backend to rebuild it on.
struct Session {
  Recording recording;
  Program program;
  std::unique_ptr<Backend> backend;
};

void print_notes(const FitnessLog& log) {
  if (!log.torn.empty()) say(fmt::format("note: {}\n", log.torn));
  if (!log.damage.ok()) say(fmt::format("note: {}\n", log.damage.message()));
}

Result<Session> open_session(const Options& options) {
  auto recording = open_recording(options.run);
  if (!recording.ok()) return recording.status();
  auto program = build_program(recording.value().model_config, population(recording.value().config).noise);
  if (!program.ok()) return program.status();
  auto backend = make_backend_for(program.value(), population(recording.value().config).noise,
                                  options.backend, options.threads);
  if (!backend.ok()) return backend.status();
  announce(options.backend, *backend.value());
  print_notes(recording.value().log);
  return Session{std::move(recording).value(), std::move(program).value(), std::move(backend).value()};
}

// A line that rewrites itself on a terminal; silence elsewhere.
ReplayProgress show_progress(const char* what) {
  if (isatty(STDERR_FILENO) == 0) return [](std::uint64_t) {};
  auto shown = std::make_shared<std::chrono::steady_clock::time_point>();
  return [what, shown](std::uint64_t step) {
    const auto now = std::chrono::steady_clock::now();
    if (now - *shown < std::chrono::milliseconds(100)) return;
    *shown = now;
    say(fmt::format("\r\x1b[K{} step {}", what, step));
  };
}

void end_progress() {
  if (isatty(STDERR_FILENO) != 0) say(fmt::format("\r\x1b[K"));
}

Status run_replay(const Options& options) {
  if (options.to < -1)
    return fail("--to", fmt::format("{} is no step", options.to), "-1 stands for the last step");
  auto session = open_session(options);
  if (!session.ok()) return session.status();
  auto& [recording, program, backend] = session.value();
  const std::uint64_t to =
      options.to < 0 ? recording.log.records.size() : static_cast<std::uint64_t>(options.to);
  auto from = nearest_standpoint(recording, program, to);
  if (!from.ok()) return from.status();
  const auto begin = std::chrono::steady_clock::now();
  CLUTCH_RETURN_IF_ERROR(replay(recording, program, from.value(), to, *backend, show_progress("replayed")));
  end_progress();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  say(fmt::format("replayed steps {} to {} on {} in {:.3f} s; every digest is as logged\n", from.value().step,
                  to, backend->name(), seconds));
  Weights weights;
  CLUTCH_RETURN_IF_ERROR(backend->read_weights(weights));
  if (!options.out.empty()) {
    SafetensorsFile file{to_tensors(program, weights), to_metadata(recording.model_config)};
    file.metadata["step"] = std::to_string(to);
    CLUTCH_RETURN_IF_ERROR(write_safetensors(options.out, file));
  }
  return write_stdout(fmt::format("{:016x}\n", digest(program, weights)));
}

Status run_pack(const Options& options) {
  auto recording = read_recording(options.run);
  if (!recording.ok()) return recording.status();
  if (!recording.value().log.damage.ok()) return recording.value().log.damage;
  print_notes(recording.value().log);
  auto bytes = pack(recording.value());
  if (!bytes.ok()) return bytes.status();
  auto program = build_program(recording.value().model_config, population(recording.value().config).noise);
  if (!program.ok()) return program.status();
  CLUTCH_RETURN_IF_ERROR(write_file_atomically(options.out, bytes.value()));
  say(fmt::format("{}: {} steps in {} bytes; the model's weights are {} bytes\n", options.out,
                  recording.value().log.records.size(), bytes.value().size(), program.value().parameters()));
  if (!recording.value().config.init.empty()) {
    say(fmt::format("note: the run starts from {}, which the pack does not hold\n",
                    recording.value().config.init));
  }
  return {};
}

Status run_audit(const Options& options) {
  auto session = open_session(options);
  if (!session.ok()) return session.status();
  auto& [recording, program, backend] = session.value();
  RunConfig config = recording.config;
  if (!options.data.empty()) config.data = options.data;
  auto text = load_training_text(config);
  if (!text.ok()) return text.status();
  const std::string found = fmt::format("{:016x}", text.value().train.digest);
  if (!recording.corpus_digest.empty() && found != recording.corpus_digest) {
    return fail(
        "--data",
        fmt::format("the text has digest {}, the run was trained on {}", found, recording.corpus_digest),
        "name the text of the run with --data");
  }
  if (options.samples < 1)
    return fail("--samples", fmt::format("{} is below 1", options.samples), "100 is the default");
  auto samples = options.all ? all_samples(recording)
                             : draw_samples(recording, static_cast<std::uint64_t>(options.samples),
                                            static_cast<std::uint64_t>(options.seed));
  if (samples.empty()) return fail(options.run, "its log holds no step", "train it first");
  auto result =
      audit(recording, program, text.value().train, std::move(samples), *backend, show_progress("audited"));
  end_progress();
  if (!result.ok()) return result.status();
  for (const AuditFinding& finding : result.value().findings) {
    fmt::print("step {} pair {}: the log says {}, evaluation says {}\n", finding.sample.step + 1,
               finding.sample.pair, finding.logged, finding.found);
  }
  fmt::print("{} pairs compared, {} windows of pairs evaluated, {} differ\n", result.value().compared,
             result.value().evaluated_pairs, result.value().findings.size());
  for (const AuditLoss& loss : result.value().losses) {
    fmt::print("step {}: the log says {} for the sum of losses, evaluation says {}\n", loss.step + 1,
               loss.logged, loss.found);
  }
  const bool agrees = result.value().findings.empty() && result.value().losses.empty();
  if (agrees && !recording.log.damage.ok())
    return recording.log.damage;  // an audit vouches for the whole log
  if (agrees && !recording.log.torn.empty()) {
    return fail(options.run, "the last record of its log is torn and was not audited",
                "cut it off by resuming the run");
  }
  if (agrees) return {};
  return fail(options.run, "the log does not say what evaluation says", "do not trust it from that step on");
}

// Exit status 1 where they differ, as diff(1) has it.
int run_diff(const Options& options) {
  auto difference = diff(options.run, options.other);
  if (!difference.ok()) return finish(difference.status());
  const int written = finish(write_stdout(difference.value().text));
  return written != 0 || !difference.value().equal ? 1 : 0;
}

void add_common(CLI::App* command, const std::shared_ptr<Options>& options) {
  command->add_option("-t,--threads", options->threads, "Threads; 0 for every processor")
      ->capture_default_str();
  command->add_option("--backend", options->backend, "Where to compute")->capture_default_str();
}

}  // namespace

void add_replay(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* replay = app.add_subcommand(
      "replay", "Rebuild the weights of any step from the fitness log, checking every digest");
  replay->add_option("run", options->run, "Run folder or packed run")->required();
  replay->add_option("--to", options->to, "Step to rebuild; -1 for the last")->capture_default_str();
  replay->add_option("--out", options->out, "Write the model of that step here, as safetensors");
  add_common(replay, options);
  replay->callback(
      [options, &exit_status] { exit_status = run_command([&] { return run_replay(*options); }); });

  CLI::App* pack =
      app.add_subcommand("pack", "Put a run into one small file from which anybody rebuilds its model");
  pack->add_option("run", options->run, "Run folder")->required();
  pack->add_option("-o,--out", options->out, "File to write")->required();
  pack->callback([options, &exit_status] { exit_status = run_command([&] { return run_pack(*options); }); });

  CLI::App* audit =
      app.add_subcommand("audit", "Evaluate some of a run's work again and compare it with the log");
  audit->footer("Exit status 1 where anything differs. docs/LOG.md says what an audit proves and what not.");
  audit->add_option("run", options->run, "Run folder or packed run")->required();
  audit->add_option("--samples", options->samples, "Pairs of steps to draw")->capture_default_str();
  audit->add_option("--seed", options->seed, "Of the draw")->capture_default_str();
  audit->add_flag("--all", options->all, "Every pair of every step");
  audit->add_option("--data", options->data, "The training text, where it is not where the run says");
  add_common(audit, options);
  audit->callback(
      [options, &exit_status] { exit_status = run_command([&] { return run_audit(*options); }); });

  CLI::App* diff = app.add_subcommand("diff", "Where two runs or two models part");
  diff->footer("Exit status 1 where they differ.");
  diff->add_option("a", options->run, "Run folder, checkpoint or model")->required();
  diff->add_option("b", options->other, "Another")->required();
  diff->callback([options, &exit_status] { exit_status = run_diff(*options); });
}

}  // namespace clutch::cli
