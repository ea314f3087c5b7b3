// clutch eval: how well a model predicts a text, without noise.
#include <fmt/format.h>

#include <limits>
#include <memory>

#include "backend/select.h"
#include "cli/commands.h"
#include "run/checkpoint.h"
#include "run/evaluate.h"

namespace clutch::cli {
namespace {

struct Options {
  std::string model, backend = "cpu";
  std::vector<std::string> data;
  std::int64_t streams = 64, threads = 0;
};

Status run(const Options& options) {
  if (options.streams < 1 || options.streams > 65536) {
    return fail("--streams", fmt::format("{} is outside 1..65536", options.streams), "64 is the default");
  }
  auto model = load_model(options.model);
  if (!model.ok()) return model.status();
  const Program& program = model.value().program;
  auto corpus = load_corpus(options.data, static_cast<std::uint32_t>(program.vocab));
  if (!corpus.ok()) return corpus.status();
  if (corpus.value().tokens.size() < 2) return fail("--data", "holds a single token", "bring a longer text");
  auto backend = make_backend_for(program, NoiseShape(), options.backend, options.threads);
  if (!backend.ok()) return backend.status();
  announce(options.backend, *backend.value());
  CLUTCH_RETURN_IF_ERROR(backend.value()->load(program, NoiseShape(), model.value().weights));
  auto loss = evaluate_text(*backend.value(), corpus.value(), static_cast<std::uint32_t>(options.streams),
                            std::numeric_limits<std::uint64_t>::max());
  if (!loss.ok()) return loss.status();
  say(fmt::format("{} tokens predicted on {}\n", loss.value().tokens, backend.value()->name()));
  return write_stdout(fmt::format("{:.4f} bits/{}\n", loss.value().bits_per_token(),
                                  program.vocab == 256 ? "byte" : "token"));
}

}  // namespace

void add_eval(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("eval", "Measure how well a model predicts a text");
  command->footer("clutch eval -m run --data held-out.txt");
  command->add_option("-m,--model", options->model, "Run folder, checkpoint or imported .safetensors")
      ->required()
      ->check(kNotEmpty);
  command->add_option("--data", options->data, "Text, in every form that `clutch train` takes")->required();
  command
      ->add_option("--streams", options->streams,
                   "Parts of the text read side by side, each from a fresh state; 1 reads it in one piece")
      ->capture_default_str()
      ->check(kInteger);
  command->add_option("-t,--threads", options->threads, "Threads; 0 for every processor")
      ->capture_default_str()
      ->check(kInteger);
  command->add_option("--backend", options->backend, "Where to compute")->capture_default_str();
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
