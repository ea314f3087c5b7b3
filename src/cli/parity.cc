// clutch parity: two backends through the same steps, and the first number in which they differ.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>
#include <optional>

#include "backend/random_program.h"
#include "backend/select.h"
#include "base/safetensors.h"
#include "cli/commands.h"
#include "parity/case_file.h"
#include "parity/evolution.h"
#include "run/checkpoint.h"

namespace clutch::cli {
namespace {

struct Options {
  std::string model, case_file, out = "parity-case.safetensors";
  std::int64_t random = 0, count = 1;
  std::vector<std::string> backends, data;
  std::int64_t steps = 3, population = 16, tokens = 32, seed = 0, threads = 0;
  std::optional<std::int64_t> rank, sigma_shift;  // else as the run has them
  std::string rule;
  bool given_random = false;
};

struct Pair {
  std::unique_ptr<Backend> a, b;
};

// One name is compared with the reference; none stands for "cpu".
Result<Pair> make_pair(const Options& options, const parity::Start& start) {
  std::vector<std::string> names = options.backends;
  if (names.empty()) names.push_back("cpu");
  if (names.size() == 1) names.insert(names.begin(), "reference");
  if (names.size() > 2) {
    return fail("--backend", fmt::format("{} were given, '{}' among them", names.size(), names[2]),
                "name two, or one to compare with the reference");
  }
  Pair pair;
  for (const std::string& name : names) {
    auto backend = make_backend_for(start.program, start.noise, name, options.threads);
    if (!backend.ok()) return backend.status();
    announce(name, *backend.value());
    (pair.a ? pair.b : pair.a) = std::move(backend).value();
  }
  return pair;
}

// What a checkpoint knows besides its weights: where it stood, its rule's memory, its members' states.
// Nothing of other files.
Result<std::optional<Checkpoint>> find_checkpoint(const std::string& model) {
  auto path = model_file(model);
  if (!path.ok()) return path.status();
  auto file = read_safetensors(path.value());
  if (!file.ok()) return file.status();
  if (!file.value().metadata.contains("step")) return std::optional<Checkpoint>();
  auto checkpoint = read_checkpoint(path.value());
  if (!checkpoint.ok()) return checkpoint.status();
  return std::optional(std::move(checkpoint).value());
}

// The knobs that decide a step: the run's, or of a checkpoint alone its rule, under the flags.
Result<RunConfig> knobs_of(const Options& options, const std::optional<Checkpoint>& checkpoint) {
  RunConfig config;
  if (std::filesystem::is_directory(options.model)) {
    auto saved = read_config(options.model);
    if (!saved.ok()) return saved.status();
    config = std::move(saved).value();
  }
  if (checkpoint) config.rule = exact::entry(checkpoint->memory.rule).name;
  if (!options.rule.empty()) config.rule = options.rule;
  config.rank = options.rank.value_or(config.rank);
  config.sigma_shift = options.sigma_shift.value_or(config.sigma_shift);
  config.population = options.population;
  config.group_size = 2, config.texts_per_pair = 1;
  config.tokens_per_update = options.tokens;
  config.seed = options.seed;
  if (config.data.empty()) config.data = {"-"};  // which resolve() wants named; nothing is read from it
  CLUTCH_RETURN_IF_ERROR(resolve(config));
  return config;
}

// Another rule than the checkpoint's begins with nothing remembered, further members from zero states.
void take_checkpoint(const Checkpoint& checkpoint, parity::Start& start) {
  if (checkpoint.memory.rule == start.memory.rule) start.memory = checkpoint.memory;
  const std::vector<std::int8_t>& states = checkpoint.states;
  std::copy_n(states.begin(), std::min(states.size(), start.states.size()), start.states.begin());
}

Result<parity::Outcome> compare_model(const Options& options, std::string& what) {
  auto model = load_model(options.model);
  if (!model.ok()) return model.status();
  auto checkpoint = find_checkpoint(options.model);
  if (!checkpoint.ok()) return checkpoint.status();
  auto config = knobs_of(options, checkpoint.value());
  if (!config.ok()) return config.status();
  parity::Evolution evolution;
  evolution.population = population(config.value());
  evolution.length = static_cast<std::uint32_t>(options.tokens);
  evolution.steps = static_cast<std::uint64_t>(options.steps);
  evolution.fitness = *fitness_shape(config.value().fitness);
  evolution.optimiser = optimiser(config.value());
  parity::Start start{.program = std::move(model.value().program),
                      .noise = evolution.population.noise,
                      .weights = std::move(model.value().weights),
                      .memory = {evolution.optimiser.rule, {}},
                      .members = evolution.population.size,
                      .states = {}};
  const auto bounds = verify(start.program, start.noise);
  if (!bounds.ok()) return bounds.status();
  if (config.value().carry == "keep")
    start.states.resize(start.members * static_cast<std::size_t>(start.program.state_width()));
  if (checkpoint.value()) {
    evolution.first_step = checkpoint.value()->step;
    take_checkpoint(*checkpoint.value(), start);
  }
  std::optional<Corpus> corpus;
  if (!options.data.empty()) {
    auto loaded = load_corpus(options.data, static_cast<std::uint32_t>(start.program.vocab));
    if (!loaded.ok()) return loaded.status();
    corpus = std::move(loaded).value();
    evolution.corpus = &*corpus;
  }
  auto pair = make_pair(options, start);
  if (!pair.ok()) return pair.status();
  what = fmt::format("{} and {} on {}: {} steps of {} members, {} tokens each, from step {}",
                     pair.value().a->name(), pair.value().b->name(), options.model, options.steps,
                     start.members, options.tokens, evolution.first_step);
  return parity::run_evolution(*pair.value().a, *pair.value().b, start, evolution);
}

Result<parity::Outcome> compare_case(const Options& options, const parity::Case& c, const std::string& of,
                                     std::string& what) {
  auto pair = make_pair(options, c.start);
  if (!pair.ok()) return pair.status();
  what = fmt::format("{} and {} on {}: {} steps of {} members", pair.value().a->name(),
                     pair.value().b->name(), of, c.steps.size(), c.start.members);
  return parity::run_case(*pair.value().a, *pair.value().b, c);
}

Result<parity::Outcome> compare_one(const Options& options, std::int64_t seed, std::string& what) {
  if (!options.model.empty()) return compare_model(options, what);
  if (options.given_random) {
    const auto drawn = parity::random_case(static_cast<std::uint64_t>(seed), static_cast<int>(options.steps));
    return compare_case(options, drawn, fmt::format("random program {}", seed), what);
  }
  auto c = parity::read_case(options.case_file);
  if (!c.ok()) return c.status();
  return compare_case(options, c.value(), options.case_file, what);
}

Status check_options(const Options& options) {
  if (options.model.empty() + options.case_file.empty() + !options.given_random != 2) {
    return fail("parity", "takes one of --model, --random and --case",
                "`clutch parity --random 1` needs nothing else");
  }
  CLUTCH_RETURN_IF_ERROR(check_range("--steps", options.steps, 1, 1'000'000, "3 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--tokens", options.tokens, 1, 1 << 20, "32 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--count", options.count, 1, 1'000'000, "1 is the default"));
  return check_range("--random", options.random, 0, INT64_MAX - 1'000'000, "any seed will do");
}

Status run(const Options& options) {
  CLUTCH_RETURN_IF_ERROR(check_options(options));
  for (std::int64_t i = 0; i < (options.given_random ? options.count : 1); ++i) {
    std::string what;
    auto outcome = compare_one(options, options.random + i, what);
    if (!outcome.ok()) return outcome.status();
    const auto& difference = outcome.value().difference;
    if (!difference) {
      CLUTCH_RETURN_IF_ERROR(
          write_stdout(fmt::format("{}: equal; {}\n", what, parity::describe(outcome.value().compared))));
      continue;
    }
    CLUTCH_RETURN_IF_ERROR(
        write_stdout(fmt::format("{}: different\ncompared up to there: {}\n{}", what,
                                 parity::describe(outcome.value().compared), difference->text)));
    CLUTCH_RETURN_IF_ERROR(parity::write_case(options.out, difference->repeat));
    return fail("parity", "the backends differ",
                "repeat it with: clutch parity --case " + options.out + " with the same --backend");
  }
  return {};
}

}  // namespace

void add_parity(CLI::App& app, int& exit_status) {
  auto options = std::make_shared<Options>();
  CLI::App* command =
      app.add_subcommand("parity", "Compare two backends number by number, and find the first that differs");
  command->footer(
      "clutch parity -m run --backend cpu:scalar --backend cpu:avx2\n"
      "clutch parity --random 1 --count 100 --backend cpu\n"
      "clutch parity --case parity-case.safetensors --backend cpu\n"
      "Exit status 0 where all is equal, 1 where something differs.");
  CLI::Option* model =
      command->add_option("-m,--model", options->model, "Run folder, checkpoint or imported .safetensors");
  CLI::Option* random =
      command->add_option("--random", options->random, "Seed of a random program with everything it needs");
  CLI::Option* from =
      command->add_option("--case", options->case_file, "A case that an earlier comparison wrote");
  model->check(kNotEmpty);
  random->check(kInteger);
  from->check(kNotEmpty);
  command
      ->add_option("--backend", options->backends,
                   "Once: compared with the reference; twice: with each other; default is cpu")
      ->allow_extra_args(false);
  const auto number = [&](const char* flag, std::int64_t& value, const char* help) {
    return command->add_option(flag, value, help)->capture_default_str()->check(kInteger);
  };
  number("--count", options->count, "So many random programs, of this seed and those after it")
      ->needs(random);
  number("--steps", options->steps, "Evaluations and updates, one after the other")->excludes(from);
  number("--population", options->population, "Of a model: members, an even number")->needs(model);
  number("--tokens", options->tokens, "Of a model: tokens each member reads in a step")->needs(model);
  command->add_option("--data", options->data, "Of a model: text to read; without it, random tokens")
      ->needs(model);
  number("-s,--seed", options->seed, "Of a model: of noise and random tokens")->needs(model);
  command->add_option("--rule", options->rule, "Of a model: how votes move weights; else the run's")
      ->needs(model);
  command->add_option("--rank", options->rank, "Of a model: rank of the noise; else the run's")
      ->check(kInteger)
      ->needs(model);
  command->add_option("--sigma-shift", options->sigma_shift, "Of a model: size of the noise; else the run's")
      ->check(kInteger)
      ->needs(model);
  number("-t,--threads", options->threads, "Threads; 0 for every processor");
  command->add_option("-o,--out", options->out, "Where a case that differs is written")
      ->capture_default_str()
      ->check(kNotEmpty);
  command->callback([options, random, &exit_status] {
    options->given_random = random->count() > 0;
    exit_status = run_command([&] { return run(*options); });
  });
}

}  // namespace clutch::cli
