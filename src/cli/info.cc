// clutch info: what this build is and what this machine has; and what a model is made of.
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <sstream>

#include "backend/select.h"
#include "cli/commands.h"
#include "exact/version.h"
#include "program/ops.h"
#include "program/print.h"
#include "run/checkpoint.h"
#include "run/cluster.h"

namespace clutch::cli {
namespace {

struct Options {
  std::string model;
  bool ops = false;
};

// The processor's features that kernels could use, as Linux names them.
std::string cpu_features() {
  static constexpr const char* kOfInterest[] = {"sse4_1",      "avx2",     "avx_vnni", "avx512bw", "avx512vl",
                                                "avx512_vnni", "amx_int8", "asimd",    "asimddp",  "i8mm"};
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line);
    std::string found;
    for (std::string word; words >> word;) {
      for (const char* feature : kOfInterest) {
        if (word == feature) found += (found.empty() ? "" : " ") + word;
      }
    }
    return found.empty() ? "none of interest" : found;
  }
  return "unknown (no /proc/cpuinfo)";
}

// The architectures whose programs a backend runs, and why it refuses the others.
std::string architectures_of(const std::string& backend_name) {
  const auto backend = make_backend(backend_name, 1);
  if (!backend.ok()) return backend.status().message();
  std::string runs, refuses;
  for (const Architecture& architecture : architectures()) {
    ModelConfig config;
    config.arch = architecture.name;
    if (architecture.windowed) config.window = 64;
    const auto program = build_program(config, NoiseShape());
    const Status status =
        program.ok() ? backend.value()->supports(program.value(), NoiseShape()) : program.status();
    if (status.ok())
      runs += std::string(runs.empty() ? "" : ", ") + architecture.name;
    else
      refuses += fmt::format("; not {}: {}", architecture.name, status.message());
  }
  return (runs.empty() ? "runs nothing" : "runs " + runs) + refuses;
}

// Which backends can run a program, and why the others cannot.
std::string backends_of(const Program& program) {
  std::string text = "backends, the fastest first:\n";
  for (const Suitability& one : suitable_backends(program, NoiseShape())) {
    text += fmt::format("  {:16} {}\n", one.name,
                        !one.why_not.empty() ? "no: " + one.why_not
                        : one.automatic      ? "runs it; --backend auto"
                                             : "runs it");
  }
  return text;
}

std::string about() {
  std::string text =
      fmt::format("clutch {}\nsemantic version {}\ncpu features: {}\nthreads: {}\n\nbackends:\n",
                  CLUTCH_VERSION, exact::kSemanticVersion, cpu_features(), default_threads());
  for (const BackendEntry& entry : list_backends()) {
    text += fmt::format("  {:16} {}\n", entry.name,
                        entry.unavailable.empty() ? entry.summary + "; " + architectures_of(entry.name)
                                                  : "off: " + entry.unavailable);
  }
  text += fmt::format("\nmpi: {}\n", mpi_unavailable().empty() ? "on" : "off: " + mpi_unavailable());
  text += "\narchitectures:\n";
  for (const Architecture& architecture : architectures()) {
    text += fmt::format("  {:16} {}\n", architecture.name, architecture.summary);
  }
  return text;
}

Status run(const Options& options) {
  if (options.ops) return write_stdout(ops_markdown());
  if (options.model.empty()) return write_stdout(about());
  auto model = load_model(options.model);
  if (!model.ok()) return model.status();
  return write_stdout(fmt::format("{}{}digest {:016x}\n", print_program(model.value().program),
                                  backends_of(model.value().program),
                                  digest(model.value().program, model.value().weights)));
}

}  // namespace

void add_info(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("info", "Show versions, this machine's backends, or a model's program");
  command->footer("clutch info\nclutch info -m run");
  command->add_option("-m,--model", options->model,
                      "Print this model's program, its digest, and which backends can run it instead");
  command->add_flag("--ops", options->ops, "Print the list of ops as docs/OPS.md has it");
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
