// clutch generate: lets a model write, token by token, to stdout.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <memory>

#include "backend/select.h"
#include "base/files.h"
#include "cli/commands.h"
#include "generate/generator.h"
#include "generate/text.h"
#include "run/checkpoint.h"

namespace clutch::cli {
namespace {

constexpr std::uint64_t kMaxPromptBytes = 1 << 24;
std::atomic<bool> stop_requested{false};

struct Options {
  std::string model, prompt, prompt_file, backend = "cpu";
  std::int64_t predict = 256, seed = 0, threads = 1, top_k = 40;
  std::string temperature = "0.8", top_p = "0.95", min_p = "0.05";
  bool ignore_end = false;
};

// A decimal as the nearest multiple of 2^-16; fails outside [0, most].
Result<std::uint32_t> parse_q16(const std::string& text, const char* flag, std::uint64_t most) {
  auto value = parse_decimal_q30(text, flag);
  if (!value.ok()) return value.status();
  const std::uint64_t rounded = (value.value() + (1 << 13)) >> 14;
  if (rounded > most << 16)
    return fail(flag, text + " is above " + std::to_string(most), "choose a smaller number");
  return static_cast<std::uint32_t>(rounded);
}

Result<Sampling> parse_sampling(const Options& options) {
  auto temperature = parse_q16(options.temperature, "--temp", 1000);
  if (!temperature.ok()) return temperature.status();
  auto top_p = parse_q16(options.top_p, "--top-p", 1);
  if (!top_p.ok()) return top_p.status();
  auto min_p = parse_q16(options.min_p, "--min-p", 1);
  if (!min_p.ok()) return min_p.status();
  if (options.top_k < 0 || options.top_k > UINT32_MAX) {
    return fail("--top-k", std::to_string(options.top_k) + " is out of range", "0 keeps all tokens");
  }
  return Sampling{.temperature_q16 = temperature.value(),
                  .top_k = static_cast<std::uint32_t>(options.top_k),
                  .top_p_q16 = top_p.value(),
                  .min_p_q16 = min_p.value(),
                  .seed = static_cast<std::uint64_t>(options.seed)};
}

// A terminal must not act on control bytes that a model makes up.
Status write(const std::string& text) {
  return write_stdout(isatty(STDOUT_FILENO) != 0 ? printable(text) : text);
}

// The prompt as tokens; an empty one stands for the start of a document.
Result<std::vector<std::uint16_t>> read_prompt(const Options& options, std::int64_t vocab,
                                               std::string& shown) {
  shown = options.prompt;
  if (!options.prompt_file.empty()) {
    auto text = read_file(options.prompt_file, kMaxPromptBytes);
    if (!text.ok()) return text.status();
    shown += text.value();
  }
  auto tokens = parse_prompt(shown, vocab, options.prompt_file.empty() ? "--prompt" : options.prompt_file);
  if (!tokens.ok()) return tokens;
  shown.clear();
  for (const std::uint16_t token : tokens.value()) shown += render_token(token, vocab);
  if (tokens.value().empty()) tokens.value().push_back(0);
  return tokens;
}

Status run(const Options& options) {
  if (options.predict < -1) {
    return fail("--predict", std::to_string(options.predict) + " is below -1", "-1 is for no limit");
  }
  auto sampling = parse_sampling(options);
  if (!sampling.ok()) return sampling.status();
  auto model = load_model(options.model);
  if (!model.ok()) return model.status();
  const Program& program = model.value().program;
  std::string shown;
  auto prompt = read_prompt(options, program.vocab, shown);
  if (!prompt.ok()) return prompt.status();
  auto backend = make_backend_for(program, NoiseShape(), options.backend, options.threads);
  if (!backend.ok()) return backend.status();
  announce(options.backend, *backend.value());
  CLUTCH_RETURN_IF_ERROR(backend.value()->load(program, NoiseShape(), model.value().weights));
  auto generator = Generator::create(*backend.value(), program);
  if (!generator.ok()) return generator.status();

  std::signal(SIGINT, [](int) { stop_requested = true; });
  CLUTCH_RETURN_IF_ERROR(write(shown));
  CLUTCH_RETURN_IF_ERROR(generator.value().feed(prompt.value()));
  for (std::int64_t i = 0; (options.predict < 0 || i < options.predict) && !stop_requested; ++i) {
    auto token = generator.value().next(sampling.value());
    if (!token.ok()) return token.status();
    if (token.value() == 0 && !options.ignore_end) break;  // the end of a document
    CLUTCH_RETURN_IF_ERROR(write(render_token(token.value(), program.vocab)));
  }
  return write("\n");
}

}  // namespace

void add_generate(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand("generate", "Let a model write");
  command->footer(
      "clutch generate -m run -p \"Once\" -n 200 --temp 0.7\n"
      "The same model, prompt, seed and settings give the same text on every backend.");
  command->add_option("-m,--model", options->model, "Run folder, checkpoint or imported .safetensors")
      ->required()
      ->check(kNotEmpty);
  command->add_option("-p,--prompt", options->prompt, "Text to continue; empty starts a document");
  command->add_option("-f,--file", options->prompt_file, "Read the prompt from a file");
  command->add_option("-n,--predict", options->predict, "Tokens to write at most; -1 for no limit")
      ->capture_default_str()
      ->check(kInteger);
  command->add_option("-s,--seed", options->seed, "Of the choices")->capture_default_str()->check(kInteger);
  command->add_option("-t,--threads", options->threads, "Threads")->capture_default_str()->check(kInteger);
  command->add_option("--temp", options->temperature, "Temperature; 0 always takes the likeliest")
      ->capture_default_str();
  command->add_option("--top-k", options->top_k, "Keep the likeliest so many; 0 keeps all")
      ->capture_default_str()
      ->check(kInteger);
  command->add_option("--top-p", options->top_p, "Keep the likeliest that make up this share")
      ->capture_default_str();
  command->add_option("--min-p", options->min_p, "Drop what is less likely than this share of the likeliest")
      ->capture_default_str();
  command->add_flag("--ignore-eos", options->ignore_end, "Write on after the end of a document (byte 0)");
  command->add_option("--backend", options->backend, "Where to compute")->capture_default_str();
  command->callback([options, &exit_status] { exit_status = run_command([&] { return run(*options); }); });
}

}  // namespace clutch::cli
