#include "run/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/utf8.h"
#include "data/corpus.h"

namespace clutch {
namespace {

using Json = nlohmann::ordered_json;

Status set_member(RunConfig& config, const Knob& knob, const Json& value, const std::string& name) {
  const auto wrong = [&](const char* wanted) {
    return fail(name, fmt::format("'{}' is {}, not {}", knob.key(), value.dump(), wanted),
                "correct the value");
  };
  if (const auto* field = std::get_if<std::int64_t RunConfig::*>(&knob.field)) {
    const bool fits = !value.is_number_unsigned() || value.get<std::uint64_t>() <= INT64_MAX;
    if (!value.is_number_integer() || !fits) return wrong("an integer of 64 bits");
    config.** field = value.get<std::int64_t>();
  } else if (const auto* text = std::get_if<std::string RunConfig::*>(&knob.field)) {
    if (!value.is_string() && !value.is_number()) return wrong("a text");
    config.** text = value.is_string() ? value.get<std::string>() : value.dump();
  } else {
    if (!value.is_array()) return wrong("a list of texts");
    auto& list = config.*std::get<std::vector<std::string> RunConfig::*>(knob.field);
    list.clear();
    for (const Json& element : value) {
      if (!element.is_string()) return wrong("a list of texts");
      list.push_back(element.get<std::string>());
    }
  }
  return {};
}

// Names that JSON cannot hold would be lost on the way to config.json and back.
Status check_texts(const RunConfig& config) {
  const auto check_text = [](const Knob& knob, const std::string& value) -> Status {
    if (!is_utf8(value))
      return fail(std::string("--") + knob.name, fmt::format("'{}' is not UTF-8", value), "rename the file");
    return {};
  };
  for (const Knob& knob : knobs()) {
    if (const auto* text = std::get_if<std::string RunConfig::*>(&knob.field)) {
      CLUTCH_RETURN_IF_ERROR(check_text(knob, config.**text));
    }
    if (const auto* list = std::get_if<std::vector<std::string> RunConfig::*>(&knob.field)) {
      for (const std::string& one : config.**list) CLUTCH_RETURN_IF_ERROR(check_text(knob, one));
    }
  }
  return {};
}

// A rule without a schedule gets its own; a cosine or a cooldown without a length the run's.
Status resolve_schedule(RunConfig& config) {
  if (config.schedule.empty()) config.schedule = config.rule == "threshold" ? "inverse" : "root";
  const auto shape = find_schedule(config.schedule);
  if (!shape) {
    return fail("--schedule", fmt::format("'{}' is unknown", config.schedule),
                fmt::format("choose from: {}", fmt::join(schedule_names(), ", ")));
  }
  constexpr std::int64_t kMost = 99'999'999;
  CLUTCH_RETURN_IF_ERROR(
      check_range("--schedule-steps", config.schedule_steps, 0, kMost, "0 is for the length of the run"));
  CLUTCH_RETURN_IF_ERROR(check_range("--warmup", config.warmup, 0, kMost, "0 is for none"));
  CLUTCH_RETURN_IF_ERROR(check_range("--cooldown", config.cooldown, 0, kMost, "0 is for none"));
  if ((*shape == ScheduleShape::cosine || config.cooldown > 0) && config.schedule_steps == 0) {
    config.schedule_steps = std::max<std::int64_t>(1, config.steps);
  }
  return {};
}

std::int32_t forget_q14(std::uint64_t momentum_q30) {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 30;
  return momentum_q30 >= kOne ? 0
                              : static_cast<std::int32_t>((kOne - momentum_q30) >> (30 - exact::kForgetBits));
}

// alpha > 1 is shorthand for a schedule: 1 / ((2^alpha - 1) · step / 1000 + 1).
Status resolve_alpha(RunConfig& config) {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 30;
  auto alpha = parse_decimal_q30(config.alpha, "--alpha");
  if (!alpha.ok()) return alpha.status();
  auto decay = parse_decimal_q30(config.alpha_decay, "--alpha-decay");
  if (!decay.ok()) return decay.status();
  if (alpha.value() == 0 || alpha.value() > 9 * kOne) {
    return fail("--alpha", fmt::format("{} is not in (0, 9]", config.alpha),
                "it is the share of weights that move per step, or above 1 the speed of its decay");
  }
  if (alpha.value() > kOne) {
    const double rate =
        (std::exp2(static_cast<double>(alpha.value()) / static_cast<double>(kOne)) - 1) / 1000;
    config.alpha = "1";
    config.alpha_decay = fmt::format("{:.9f}", rate);
  } else if (decay.value() >= kOne) {
    return fail("--alpha-decay", fmt::format("{} is not below 1", config.alpha_decay),
                "0.002 is a usual value");
  }
  return {};
}

Status check_rate(const RunConfig& config) {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 30;
  auto momentum = parse_decimal_q30(config.momentum, "--momentum");
  if (!momentum.ok()) return momentum.status();
  if (forget_q14(momentum.value()) < 1) {
    return fail("--momentum", fmt::format("{} is not in [0, 0.9999]", config.momentum),
                "0.95 is a usual value");
  }
  auto square = parse_decimal_q30(config.square_momentum, "--square-momentum");
  if (!square.ok()) return square.status();
  if (forget_q14(square.value()) < 1) {
    return fail("--square-momentum", fmt::format("{} is not in [0, 0.9999]", config.square_momentum),
                "0.999 is a usual value");
  }
  auto weight_decay = parse_decimal_q30(config.weight_decay, "--weight-decay");
  if (!weight_decay.ok()) return weight_decay.status();
  if (weight_decay.value() > kOne) {
    return fail("--weight-decay", fmt::format("{} is not in [0, 1]", config.weight_decay), "0 is for none");
  }
  auto rate = parse_decimal_q30(config.rate, "--rate");
  if (!rate.ok()) return rate.status();
  if (rate.value() < kOne >> exact::kRateBits || rate.value() > 8 * kOne) {
    return fail("--rate", fmt::format("{} is not in [0.00025, 8]", config.rate), "0.5 is a usual value");
  }
  auto decay = parse_decimal_q30(config.rate_decay, "--rate-decay");
  if (!decay.ok()) return decay.status();
  if (decay.value() < kOne) return {};
  return fail("--rate-decay", fmt::format("{} is not below 1", config.rate_decay), "0.002 is a usual value");
}

}  // namespace

std::string Knob::key() const {
  std::string key = name;
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

const std::vector<Knob>& knobs() {
  using enum KnobGroup;
  using C = RunConfig;
  static const std::vector<Knob> list = {
      {"data", &C::data, kMeaning,
       "Text to learn from: files, folders or - for standard input; also .zst, and tokens as .npy or .bin"},
      {"valid", &C::valid, kMeaning, "Held-out text; without it the end of --data is held out"},
      {"valid-fraction", &C::valid_fraction, kMeaning,
       "Share of --data held out where there is no --valid; 0 for none"},
      {"init", &C::init, kMeaning,
       "Start from this model instead of random weights; it brings its own architecture"},
      {"arch", &C::arch, kMeaning, "Architecture; `clutch info` lists them"},
      {"dim", &C::dim, kMeaning, "Width. Wider learns more and costs its square; try 64, 128, 256"},
      {"layers", &C::layers, kMeaning, "Depth. Start with 1; more pays at larger widths"},
      {"vocab", &C::vocab, kMeaning, "Number of tokens: 256 for bytes"},
      {"window", &C::window, kMeaning,
       "Positions a transformer can look back at, up to 1024; 0 for as many as --tokens-per-update"},
      {"dialect", &C::dialect, kMeaning,
       "Whose roundings: nano-egg (down) or egg.c (truncating norm, shifts)"},
      {"activation", &C::activation, kMeaning, "Between the MLP's products: none or relu"},
      {"population", &C::population, kMeaning,
       "Members per step. More gives a cleaner direction for each update, at proportional cost"},
      {"texts-per-pair", &C::texts_per_pair, kMeaning,
       "2: a pair's members read a text each, and losses count from the mean of all members on their text, "
       "which "
       "learns much more per token; 1: both read the same, and any pair stands alone"},
      {"group-size", &C::group_size, kMeaning,
       "Members that read the same text. Fewer read more text per step, more have a surer mean; 0 for 2 with "
       "--texts-per-pair 1, each pair its own, and 8 with 2"},
      {"noise-reuse", &C::noise_reuse, kMeaning, "Steps that share one noise; 0 for one noise all along"},
      {"rank", &C::rank, kMeaning, "Rank of the perturbations. 1 is cheapest"},
      {"sigma-shift", &C::sigma_shift, kMeaning,
       "One more halves the perturbations. Lower explores more; raise it if training diverges"},
      {"tokens-per-update", &C::tokens_per_update, kMeaning,
       "Tokens each member reads before an update. Longer sees further back and updates less often"},
      {"rule", &C::rule, kMeaning,
       "How votes move weights: threshold (those beyond it, by one), momentum (a running mean, at a rate), "
       "carry (votes add up to steps), adamw (momentum over the votes' own root mean square)"},
      {"alpha", &C::alpha, kMeaning,
       "Of the threshold rule: share of weights that move per step, in (0, 1]. Above 1: alpha 1 decaying by "
       "(2^alpha - 1)/1000 a "
       "step"},
      {"alpha-decay", &C::alpha_decay, kMeaning,
       "alpha is divided by 1 + this * step. Larger settles sooner; smaller keeps learning longer"},
      {"momentum", &C::momentum, kMeaning,
       "Of momentum and adamw: share of the running mean that a step keeps, in [0, 1). Nearer to 1 averages "
       "over more steps"},
      {"square-momentum", &C::square_momentum, kMeaning, "Of adamw: the same for the mean square"},
      {"rate", &C::rate, kMeaning,
       "Of all rules but threshold: weight steps per deviation of the votes, in (0, 8]"},
      {"rate-decay", &C::rate_decay, kMeaning,
       "rate is divided by 1 + this * step. Larger settles sooner; smaller keeps learning longer"},
      {"weight-decay", &C::weight_decay, kMeaning,
       "Of all rules but threshold: share of itself that a weight loses per step at rate 1, in [0, 1]"},
      {"schedule", &C::schedule, kMeaning,
       "How alpha and rate change; unless given inverse for the threshold rule and root for the others: "
       "constant, inverse (by their decay), root (by its square root) or cosine "
       "(to 0 at "
       "--schedule-steps)"},
      {"schedule-steps", &C::schedule_steps, kMeaning,
       "Length of a cosine, and where a cooldown ends; 0 for the --steps that the run begins with"},
      {"warmup", &C::warmup, kMeaning, "Steps in which alpha or rate rises to its schedule"},
      {"cooldown", &C::cooldown, kMeaning,
       "Steps in which alpha or rate falls to nothing at the end (at --schedule-steps); 0 for none. Steps "
       "beyond learn no more"},
      {"fitness", &C::fitness, kMeaning,
       "What a pair's losses become: sign, scaled (their difference, by the mean one), clipped (scaled, at "
       "the mean "
       "one), strong (sign, where the difference is at least half the mean one), or grouped (scaled, by the "
       "mean "
       "one of those on the same text)"},
      {"carry", &C::carry, kMeaning,
       "What members remember from window to window: keep their states, or reset them (and checkpoints hold "
       "none)"},
      {"seed", &C::seed, kMeaning, "Of the initial weights and all noise"},
      {"steps", &C::steps, kLength, "Updates to make in all"},
      {"validate-every", &C::validate_every, kComfort,
       "Measure held-out text every so many steps; 0 for never"},
      {"valid-tokens", &C::valid_tokens, kComfort,
       "Held-out tokens measured each time, spread over the text"},
      {"sample-every", &C::sample_every, kComfort, "Let the model write every so many steps; 0 for never"},
      {"tensorboard", &C::tensorboard, kComfort,
       "1 also writes event files to RUN/tensorboard, for TensorBoard; --inspect-every adds histograms to "
       "them"},
      {"inspect-every", &C::inspect_every, kComfort,
       "Put what `clutch inspect` sees into metrics.jsonl every so many steps, and say what looks wrong; 0 "
       "for never"},
      {"checkpoint-every", &C::checkpoint_every, kComfort,
       "Save every so many steps, besides the end; 0 for the end only"},
      {"keep", &C::keep, kComfort, "Checkpoints to keep"},
      {"sync", &C::sync, kComfort, "Force the fitness log to the disk after every step, or every second"},
      {"backend", &C::backend, kComfort,
       "Where to compute; `clutch info` lists what this machine has, and auto is the fastest that can"},
      {"threads", &C::threads, kComfort, "Threads; 0 for every processor this process may use"},
      {"pin", &C::pin, kComfort, "1 binds each thread to a processor of its own"},
  };
  return list;
}

std::string to_json(const RunConfig& config) {
  Json json;
  for (const Knob& knob : knobs()) {
    std::visit([&](auto field) { json[knob.key()] = config.*field; }, knob.field);
  }
  return json.dump(2) + "\n";
}

Result<RunConfig> config_from_json(std::string_view text, const std::string& name) {
  const Json json = Json::parse(text, nullptr, false);
  if (!json.is_object())
    return fail(name, "is not a JSON object", "use a config.json that clutch wrote as a model");
  RunConfig config;
  config.texts_per_pair = 1;
  for (const auto& [key, value] : json.items()) {
    const auto knob =
        std::find_if(knobs().begin(), knobs().end(), [&k = key](const Knob& one) { return one.key() == k; });
    if (knob == knobs().end()) {
      return fail(name, fmt::format("'{}' is unknown", key), "`clutch train --help` lists the knobs");
    }
    CLUTCH_RETURN_IF_ERROR(set_member(config, *knob, value, name));
  }
  return config;
}

ModelConfig model_config(const RunConfig& config) {
  return {config.arch,    config.dim,        config.layers, config.vocab,
          config.dialect, config.activation, config.window};
}

Population population(const RunConfig& config) {
  return {
      .size = static_cast<std::uint32_t>(config.population),
      .group_size = static_cast<std::uint32_t>(config.group_size),
      .texts_per_pair = static_cast<std::uint32_t>(config.texts_per_pair),
      .noise_reuse = static_cast<std::uint32_t>(config.noise_reuse),
      .seed = static_cast<std::uint64_t>(config.seed),
      .noise = {.rank = static_cast<int>(config.rank), .sigma_shift = static_cast<int>(config.sigma_shift)}};
}

Status resolve(RunConfig& config) {
  CLUTCH_RETURN_IF_ERROR(check_texts(config));
  if (config.data.empty())
    return fail("--data", "no text was given", "name a text file, a folder, or - for standard input");
  if (config.window == 0 && has_window(config.arch)) config.window = config.tokens_per_update;
  const std::int64_t kMost = std::int64_t{1} << 31,
                     kMaxSteps = 99'999'999;  // a checkpoint's name has eight digits
  CLUTCH_RETURN_IF_ERROR(
      check_range("--population", config.population, 2, kMaxPopulation, "it is an even number"));
  CLUTCH_RETURN_IF_ERROR(check_range("--texts-per-pair", config.texts_per_pair, 1, 2, "2 is the default"));
  if (config.group_size == 0) config.group_size = config.texts_per_pair == 1 ? 2 : 8;
  CLUTCH_RETURN_IF_ERROR(check_range("--group-size", config.group_size, 2, kMaxPopulation,
                                     "0 is for 2 with --texts-per-pair 1, and for 8 with 2"));
  CLUTCH_RETURN_IF_ERROR(check_range("--noise-reuse", config.noise_reuse, 0, kMost, "1 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--rank", config.rank, 1, kMaxRank, "1 is the default"));
  CLUTCH_RETURN_IF_ERROR(
      check_range("--sigma-shift", config.sigma_shift, 0, kMaxSigmaShift, "4 is a usual value"));
  CLUTCH_RETURN_IF_ERROR(
      check_range("--tokens-per-update", config.tokens_per_update, 1, 1 << 20, "100 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--steps", config.steps, 0, kMaxSteps, "choose a number in that range"));
  CLUTCH_RETURN_IF_ERROR(check_range("--validate-every", config.validate_every, 0, kMost, "0 is for never"));
  CLUTCH_RETURN_IF_ERROR(
      check_range("--valid-tokens", config.valid_tokens, 1, kMost, "131072 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--sample-every", config.sample_every, 0, kMost, "0 is for never"));
  CLUTCH_RETURN_IF_ERROR(check_range("--tensorboard", config.tensorboard, 0, 1, "1 turns it on"));
  CLUTCH_RETURN_IF_ERROR(check_range("--inspect-every", config.inspect_every, 0, kMost, "0 is for never"));
  CLUTCH_RETURN_IF_ERROR(
      check_range("--checkpoint-every", config.checkpoint_every, 0, kMost, "0 is for the end only"));
  CLUTCH_RETURN_IF_ERROR(check_range("--keep", config.keep, 1, 1 << 20, "3 is the default"));
  CLUTCH_RETURN_IF_ERROR(check_range("--threads", config.threads, 0, 1024, "0 is for every processor"));
  CLUTCH_RETURN_IF_ERROR(check_range("--pin", config.pin, 0, 1, "0 leaves it to the system"));
  const auto shape = fitness_shape(config.fitness);
  if (!shape) {
    return fail("--fitness", fmt::format("'{}' is unknown", config.fitness),
                fmt::format("choose from: {}", fmt::join(fitness_shape_names(), ", ")));
  }
  if (*shape == FitnessShape::grouped && population(config).group_pairs() == 1) {
    return fail("--fitness", "'grouped' measures a pair by its group, and a group of 2 is the pair alone",
                "give a larger --group-size, as 32, or --fitness sign, which is the same for single pairs");
  }
  CLUTCH_RETURN_IF_ERROR(check_choice("--carry", config.carry, {"keep", "reset"}));
  CLUTCH_RETURN_IF_ERROR(check_choice("--sync", config.sync, {"step", "second"}));
  CLUTCH_RETURN_IF_ERROR(verify_population(population(config), max_fitness(*shape)));
  auto fraction = parse_decimal_q30(config.valid_fraction, "--valid-fraction");
  if (!fraction.ok()) return fraction.status();
  if (fraction.value() >= 1u << 30) {
    return fail("--valid-fraction", fmt::format("{} is not below 1", config.valid_fraction),
                "0.05 is the default");
  }
  const std::uint32_t permille = valid_permille(config);
  if ((fraction.value() > 0 && permille == 0) || permille == 1000) {
    return fail("--valid-fraction",
                fmt::format("{} is no whole number of thousandths in 1..999", config.valid_fraction),
                "0.05 is the default, 0 holds nothing out");
  }
  if (!find_rule(config.rule)) {
    return fail("--rule", fmt::format("'{}' is unknown", config.rule),
                fmt::format("choose from: {}", fmt::join(rule_names(), ", ")));
  }
  CLUTCH_RETURN_IF_ERROR(resolve_schedule(config));
  CLUTCH_RETURN_IF_ERROR(check_rate(config));
  return resolve_alpha(config);
}

Optimiser optimiser(const RunConfig& config) {
  const auto q30 = [](const std::string& text) { return parse_decimal_q30(text, "").value(); };
  const auto schedule = [&](const std::string& start, const std::string& decay) {
    return Schedule{.shape = *find_schedule(config.schedule),
                    .start_q30 = q30(start),
                    .decay_q30 = q30(decay),
                    .length = static_cast<std::uint64_t>(std::max<std::int64_t>(1, config.schedule_steps)),
                    .warmup = static_cast<std::uint64_t>(config.warmup),
                    .cooldown = static_cast<std::uint64_t>(config.cooldown)};
  };
  return {.rule = *find_rule(config.rule),
          .alpha = schedule(config.alpha, config.alpha_decay),
          .rate = schedule(config.rate, config.rate_decay),
          .forget_q14 = forget_q14(q30(config.momentum)),
          .forget_square_q14 = forget_q14(q30(config.square_momentum)),
          .decay_q30 = q30(config.weight_decay)};
}

std::uint32_t valid_permille(const RunConfig& config) {
  const std::uint64_t fraction = parse_decimal_q30(config.valid_fraction, "--valid-fraction").value();
  return static_cast<std::uint32_t>((fraction * 1000 + (1u << 29)) >> 30);
}

Result<std::uint64_t> parse_decimal_q30(const std::string& text, const std::string& flag) {
  const Status refused =
      fail(flag, fmt::format("'{}' is not a number in [0, 2^20)", text), "write it as in 0.002");
  // digits [. digits] [e [-] digits], at most 18 digits in all, so that the digits' number fits 64 bits.
  std::size_t i = 0;
  std::uint64_t digits = 0;
  int count = 0, exponent = 0;
  const auto read_digits = [&](int step) {
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i, ++count, exponent += step) {
      if (count >= 18) return false;
      digits = digits * 10 + static_cast<std::uint64_t>(text[i] - '0');
    }
    return true;
  };
  if (!read_digits(0)) return refused;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!read_digits(-1)) return refused;
  }
  if (count == 0) return refused;
  if (i + 1 < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    const bool negative = text[i + 1] == '-';
    i += negative ? 2 : 1;
    int power = 0;
    const std::size_t first = i;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9' && power < 100; ++i)
      power = power * 10 + (text[i] - '0');
    if (i == first) return refused;
    exponent += negative ? -power : power;
  }
  if (i != text.size()) return refused;
  constexpr std::uint64_t kMost = std::uint64_t{1} << 20;
  // The digits are below 10^18; an exponent above 0 only grows them, one below -36 leaves nothing of 2^-30.
  for (; exponent > 0 && digits != 0; --exponent) {
    if (digits >= kMost) return refused;
    digits *= 10;
  }
  if (exponent < -36) return std::uint64_t{0};
  unsigned __int128 value = static_cast<unsigned __int128>(digits) << 30;
  for (; exponent < 0; ++exponent) value /= 10;  // floor of floor is the floor of the whole
  if (value >= static_cast<unsigned __int128>(kMost) << 30) return refused;
  return static_cast<std::uint64_t>(value);
}

}  // namespace clutch
