// The configuration of a run: its JSON, its numbers, and every refusal with the flag at fault.
#include "run/config.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <set>

namespace clutch {
namespace {

// A config that stands on its own where defaults may be tuned, changed.
RunConfig with(const std::function<void(RunConfig&)>& change) {
  RunConfig config;
  config.data = {"text"};
  config.population = 1024, config.group_size = 2, config.texts_per_pair = 1, config.rank = 1,
  config.fitness = "sign";
  change(config);
  return config;
}

// Each knob of `config` set to something other than its default.
RunConfig unlike_defaults() {
  RunConfig config;
  std::int64_t number = 1'000'003;
  for (const Knob& knob : knobs()) {
    std::visit(
        [&](auto field) {
          auto& value = config.*field;
          if constexpr (std::is_same_v<decltype(field), std::int64_t RunConfig::*>) {
            value = -(number *= 3);
          } else if constexpr (std::is_same_v<decltype(field), std::string RunConfig::*>) {
            value = std::string("\"of ") + knob.name + "\" \\ \n\xC3\xA9";
          } else {
            value = {"one", "", "two words"};
          }
        },
        knob.field);
  }
  return config;
}

void expect_equal(const RunConfig& a, const RunConfig& b) {
  for (const Knob& knob : knobs()) {
    std::visit([&](auto field) { EXPECT_EQ(a.*field, b.*field) << knob.name; }, knob.field);
  }
}

TEST(RunConfig, RoundTripsThroughJson) {
  for (const RunConfig& config :
       {RunConfig(), unlike_defaults(), with([](RunConfig& c) { c.seed = INT64_MIN; })}) {
    const auto back = config_from_json(to_json(config), "c");
    ASSERT_TRUE(back.ok()) << back.status().message();
    expect_equal(back.value(), config);
  }
}

TEST(RunConfig, JsonHasEveryKnobInOrder) {
  std::set<std::string> seen;
  std::size_t at = 0;
  const std::string json = to_json(RunConfig());
  for (const Knob& knob : knobs()) {
    EXPECT_TRUE(seen.insert(knob.key()).second) << knob.name;
    EXPECT_EQ(knob.key().find('-'), std::string::npos);
    const std::size_t next = json.find("  \"" + knob.key() + "\": ");
    ASSERT_NE(next, std::string::npos) << knob.name;
    EXPECT_GT(next + 1, at) << knob.name;
    at = next + 1;
  }
  EXPECT_EQ(seen.size(), nlohmann::json::parse(json).size());
}

TEST(RunConfig, MissingMembersHaveDefaultsAndNumbersBecomeText) {
  const auto config =
      config_from_json(R"({"alpha": 0.25, "dim": 12, "data": ["a"], "alpha_decay": 1e-3})", "c");
  ASSERT_TRUE(config.ok()) << config.status().message();
  RunConfig expected;
  expected.data = {"a"}, expected.alpha = "0.25", expected.alpha_decay = "0.001", expected.dim = 12;
  expected.texts_per_pair = 1;  // as in runs from before that knob
  expect_equal(config.value(), expected);
}

TEST(RunConfig, RefusesOtherJson) {
  const struct {
    const char *json, *message;
  } rows[] = {
      {"", "c: is not a JSON object"},
      {"[]", "c: is not a JSON object"},
      {"{\"dim\": 3", "c: is not a JSON object"},
      {"null", "c: is not a JSON object"},
      {R"({"dims": 3})", "c: 'dims' is unknown"},
      {R"({"group-size": 2})", "c: 'group-size' is unknown"},
      {R"({"dim": "3"})", R"(c: 'dim' is "3", not an integer of 64 bits)"},
      {R"({"dim": 3.0})", "c: 'dim' is 3.0, not an integer of 64 bits"},
      {R"({"dim": true})", "c: 'dim' is true, not an integer of 64 bits"},
      {R"({"dim": null})", "c: 'dim' is null, not an integer of 64 bits"},
      {R"({"seed": 9223372036854775808})", "c: 'seed' is 9223372036854775808, not an integer of 64 bits"},
      {R"({"seed": 99999999999999999999})", "c: 'seed' is 1e+20, not an integer of 64 bits"},
      {R"({"alpha": [1]})", "c: 'alpha' is [1], not a text"},
      {R"({"alpha": false})", "c: 'alpha' is false, not a text"},
      {R"({"data": "text"})", R"(c: 'data' is "text", not a list of texts)"},
      {R"({"data": ["a", 3]})", R"(c: 'data' is ["a",3], not a list of texts)"},
  };
  for (const auto& row : rows) {
    const auto config = config_from_json(row.json, "c");
    const std::string message = config.ok() ? "accepted" : config.status().message();
    EXPECT_EQ(message.substr(0, std::string(row.message).size()), row.message);
  }
}

TEST(ParseDecimal, IsFloorOfTheNumberTimes2To30) {
  constexpr std::uint64_t kOne = 1 << 30;
  const struct {
    const char* text;
    std::uint64_t value;
  } rows[] = {
      {"0", 0},
      {"1", kOne},
      {"00.50", kOne / 2},
      {".5", kOne / 2},
      {"5.", 5 * kOne},
      {"0.002", 2147483},
      {"2e-3", 2147483},
      {"1e-3", 1073741},
      {"1E-3", 1073741},
      {"0.1e-2", 1073741},
      {"10e-4", 1073741},
      {"1e-03", 1073741},
      {"0.1", 107374182},
      {"0.3", 322122547},
      {"0.7", 751619276},
      {"0.999999999", kOne - 2},
      {"0.99999999999999999", kOne - 1},
      {"3.14159265358979323", 3373259426},
      {"1e-9", 1},
      {"0.0000000009", 0},
      {"0.00000000093132257", 0},  // a little below 2^-30
      {"0.00000000093132258", 1},  // a little above
      {"1e-36", 0},
      {"999999999999999999e-36", 0},
      {"1e-99", 0},
      {"0e99", 0},
      {"1e5", 100000 * kOne},
      {"1048575", 1048575 * kOne},
      {"1048575.99999999999", 1048576 * kOne - 1},
      {"1048.575e3", 1048575 * kOne},
      {"104857500000000000e-11", 1048575 * kOne},
      {"100000000000000000e-19", 10737418},
      {"100000000000000000e-26", 1},
  };
  for (const auto& row : rows) {
    const auto value = parse_decimal_q30(row.text, "--x");
    ASSERT_TRUE(value.ok()) << value.status().message();
    EXPECT_EQ(value.value(), row.value) << row.text;
  }
}

TEST(ParseDecimal, Refuses) {
  for (const char* text : {"",
                           ".",
                           "-1",
                           "+1",
                           " 1",
                           "1 ",
                           "1,5",
                           "1..2",
                           "1.2.3",
                           "0x1",
                           "nan",
                           "inf",
                           "1e",
                           "1e-",
                           "1e+3",
                           "e3",
                           ".e3",
                           "1e3.5",
                           "1e3x",
                           "1048576",
                           "1e7",
                           "1048576e0",
                           "1e99",
                           "1e999",
                           "1e9999999999",
                           "0.1e7x",
                           "1234567890123456789",
                           "99999999999999999999999999"}) {
    const auto value = parse_decimal_q30(text, "--x");
    ASSERT_FALSE(value.ok()) << text << " became " << value.value();
    EXPECT_EQ(value.status().message(),
              "--x: '" + std::string(text) + "' is not a number in [0, 2^20); write it as in 0.002");
  }
}

// Digits beyond what 64 bits hold are refused or read right, never wrapped round.
TEST(ParseDecimal, ManyDigits) {
  std::string text = "0.5";
  for (int zeros = 0; zeros < 60; ++zeros, text += '0') {
    const auto value = parse_decimal_q30(text, "--x");
    EXPECT_EQ(value.ok() ? value.value() : 1 << 29, std::uint64_t{1} << 29) << text;
    EXPECT_TRUE(value.ok() || zeros > 15) << text;
  }
}

// Against long double, which holds these products exactly enough to tell whole numbers apart.
TEST(ParseDecimal, AgreesWithRealArithmetic) {
  for (int digits = 1; digits < 100000; digits += 7) {
    for (int exponent = 0; exponent <= 9; ++exponent) {
      const long double real = digits / std::pow(10.0L, exponent) * 0x1p30L;
      if (real >= 0x1p50L || std::fabs(real - std::round(real)) < 1e-6L) continue;
      const std::string text = std::to_string(digits) + "e-" + std::to_string(exponent);
      ASSERT_EQ(parse_decimal_q30(text, "--x").value(), static_cast<std::uint64_t>(real)) << text;
    }
  }
}

std::string refusal(RunConfig config) {
  const Status status = resolve(config);
  return status.message();
}

TEST(Resolve, RefusalsNameTheFlag) {
  constexpr std::int64_t kMost = 1LL << 31;
  using C = RunConfig;
  const struct {
    std::function<void(C&)> change;
    const char* message;
  } rows[] = {
      {[](C& c) { c.data.clear(); }, "--data: no text was given"},
      {[](C& c) {
         c.data = {"ok", "caf\xE9"};
       },
       "--data: 'caf\xE9' is not UTF-8"},
      {[](C& c) { c.init = "\xFF"; }, "--init: '\xFF' is not UTF-8"},
      {[](C& c) { c.population = 1; }, "--population: 1 is outside 2..16777216"},
      {[](C& c) { c.population = (1LL << 32) + 2; }, "--population: 4294967298 is outside"},
      {[](C& c) { c.population = 7; }, "--population: 7 is not an even number"},
      {[](C& c) { c.population = 1 << 22; }, "--population: 4194304 members of rank 1 could sum a vote"},
      {[](C& c) { c.population = 20000, c.fitness = "scaled"; },
       "--population: 20000 members of rank 1 could sum"},
      {[](C& c) { c.texts_per_pair = 0; }, "--texts-per-pair: 0 is outside 1..2"},
      {[](C& c) { c.texts_per_pair = 3; }, "--texts-per-pair: 3 is outside 1..2"},
      {[](C& c) { c.group_size = 1; }, "--group-size: 1 is outside"},
      {[](C& c) { c.population = 24, c.texts_per_pair = 2, c.group_size = 0; },
       "--group-size: 8 is below 2 or does not divide half the population of 24"},
      {[](C& c) { c.fitness = "grouped"; },
       "--fitness: 'grouped' measures a pair by its group, and a group of 2 is the pair alone; give a "
       "larger"},
      {[](C& c) { c.group_size = -2; }, "--group-size: -2 is outside"},
      {[](C& c) { c.group_size = 3; }, "--group-size: 3 is not even"},
      {[](C& c) { c.group_size = 2048; }, "--group-size: 2048 is not even or does not divide"},
      {[](C& c) { c.noise_reuse = -1; }, "--noise-reuse: -1 is outside 0..2147483648"},
      {[](C& c) { c.noise_reuse = kMost + 1; }, "--noise-reuse: 2147483649 is outside"},
      {[](C& c) { c.rank = 0; }, "--rank: 0 is outside 1..64"},
      {[](C& c) { c.rank = 65; }, "--rank: 65 is outside"},
      {[](C& c) { c.rank = (1LL << 32) + 1; }, "--rank: 4294967297 is outside"},
      {[](C& c) { c.sigma_shift = -1; }, "--sigma-shift: -1 is outside 0..16"},
      {[](C& c) { c.sigma_shift = 17; }, "--sigma-shift: 17 is outside"},
      {[](C& c) { c.tokens_per_update = 0; }, "--tokens-per-update: 0 is outside 1..1048576"},
      {[](C& c) { c.tokens_per_update = (1 << 20) + 1; }, "--tokens-per-update: 1048577 is outside"},
      {[](C& c) { c.steps = -1; }, "--steps: -1 is outside"},
      {[](C& c) { c.steps = 100'000'000; }, "--steps: 100000000 is outside 0..99999999"},
      {[](C& c) { c.validate_every = -1; }, "--validate-every: -1 is outside"},
      {[](C& c) { c.valid_tokens = 0; }, "--valid-tokens: 0 is outside 1.."},
      {[](C& c) { c.sample_every = -1; }, "--sample-every: -1 is outside"},
      {[](C& c) { c.checkpoint_every = -1; }, "--checkpoint-every: -1 is outside"},
      {[](C& c) { c.keep = 0; }, "--keep: 0 is outside 1..1048576"},
      {[](C& c) { c.threads = -1; }, "--threads: -1 is outside 0..1024"},
      {[](C& c) { c.threads = 1025; }, "--threads: 1025 is outside"},
      {[](C& c) { c.fitness = "rank"; }, "--fitness: 'rank' is unknown; choose from: sign, scaled"},
      {[](C& c) { c.valid_fraction = "1"; }, "--valid-fraction: 1 is not below 1"},
      {[](C& c) { c.valid_fraction = "5%"; }, "--valid-fraction: '5%' is not a number"},
      {[](C& c) { c.alpha = "0"; }, "--alpha: 0 is not in (0, 9]"},
      {[](C& c) { c.alpha = "1e-10"; }, "--alpha: 1e-10 is not in (0, 9]"},
      {[](C& c) { c.alpha = "9.1"; }, "--alpha: 9.1 is not in (0, 9]"},
      {[](C& c) { c.alpha = "half"; }, "--alpha: 'half' is not a number"},
      {[](C& c) { c.alpha_decay = "1"; }, "--alpha-decay: 1 is not below 1"},
      {[](C& c) { c.alpha_decay = "-0.1"; }, "--alpha-decay: '-0.1' is not a number"},
      {[](C& c) { c.rule = "sgd"; },
       "--rule: 'sgd' is unknown; choose from: threshold, momentum, carry, adamw"},
      {[](C& c) { c.momentum = "1"; }, "--momentum: 1 is not in [0, 0.9999]"},
      {[](C& c) { c.momentum = "1048575"; }, "--momentum: 1048575 is not in"},
      {[](C& c) { c.momentum = "0.99999"; }, "--momentum: 0.99999 is not in"},
      {[](C& c) { c.rate = "0"; }, "--rate: 0 is not in [0.00025, 8]"},
      {[](C& c) { c.rate = "8.1"; }, "--rate: 8.1 is not in"},
      {[](C& c) { c.square_momentum = "1"; }, "--square-momentum: 1 is not in [0, 0.9999]"},
      {[](C& c) { c.weight_decay = "2"; }, "--weight-decay: 2 is not in [0, 1]"},
      {[](C& c) { c.schedule = "linear"; },
       "--schedule: 'linear' is unknown; choose from: constant, inverse, root, cosine"},
      {[](C& c) { c.schedule_steps = -1; }, "--schedule-steps: -1 is outside"},
      {[](C& c) { c.warmup = -1; }, "--warmup: -1 is outside"},
      {[](C& c) { c.cooldown = -1; }, "--cooldown: -1 is outside"},
      {[](C& c) { c.rate_decay = "1"; }, "--rate-decay: 1 is not below 1"},
      {[](C& c) { c.momentum = "0.9999", c.rate = "8", c.rule = "momentum"; }, "ok"},
      {[](C&) {}, "ok"},
      {[](C& c) {
         c.population = 1 << 20, c.steps = 99'999'999, c.noise_reuse = kMost, c.alpha = "9",
         c.fitness = "sign";
       },
       "ok"},
  };
  for (const auto& row : rows) {
    const std::string message = refusal(with(row.change));
    EXPECT_EQ(message.substr(0, std::string(row.message).size()), row.message);
  }
}

TEST(Resolve, AlphaAboveOneIsShorthandForASchedule) {
  const auto resolved = [](const char* alpha, const char* decay) {
    RunConfig config = with([&](RunConfig& c) { c.alpha = alpha, c.alpha_decay = decay; });
    EXPECT_TRUE(resolve(config).ok());
    RunConfig again = config;
    EXPECT_TRUE(resolve(again).ok());
    EXPECT_EQ(again.alpha + " " + again.alpha_decay, config.alpha + " " + config.alpha_decay)
        << "resolving is final";
    return config.alpha + " " + config.alpha_decay;
  };
  EXPECT_EQ(resolved("2", "0.5"), "1 0.003000000");
  EXPECT_EQ(resolved("1.5", "0"), "1 0.001828427");
  EXPECT_EQ(resolved("9", "0"), "1 0.511000000");
  EXPECT_EQ(resolved("1", "0.002"), "1 0.002");
  EXPECT_EQ(resolved("0.5", "0.002"), "0.5 0.002");
}

TEST(Resolve, ARuleHasAScheduleOfItsOwn) {
  for (const auto& [rule, schedule] : {std::pair("threshold", "inverse"), std::pair("momentum", "root")}) {
    RunConfig config = with([r = rule](RunConfig& c) { c.rule = r; });
    ASSERT_TRUE(resolve(config).ok());
    EXPECT_EQ(config.schedule, schedule);
  }
  RunConfig cooled = with([](RunConfig& c) { c.cooldown = 3, c.steps = 17; });
  ASSERT_TRUE(resolve(cooled).ok());
  EXPECT_EQ(cooled.schedule_steps, 17);
}

TEST(Resolve, AnythingElseStaysAsItWas) {
  RunConfig config =
      with([](RunConfig& c) { c.population = 24, c.seed = -5, c.schedule = "cosine", c.schedule_steps = 7; });
  const RunConfig before = config;
  ASSERT_TRUE(resolve(config).ok());
  expect_equal(config, before);
}

TEST(RunConfig, PartsForOtherFolders) {
  const RunConfig config = with([](RunConfig& c) {
    c.population = 24, c.group_size = 6, c.texts_per_pair = 2, c.noise_reuse = 3, c.rank = 5,
    c.sigma_shift = 7, c.seed = -1;
    c.dim = 12, c.layers = 3, c.vocab = 99, c.dialect = "egg.c", c.activation = "relu";
    c.alpha = "0.25", c.alpha_decay = "1e-3", c.valid_fraction = "0.0505";
  });
  const Population p = population(config);
  EXPECT_EQ(p.size, 24u);
  EXPECT_EQ(p.group_size, 6u);
  EXPECT_EQ(p.texts_per_pair, 2u);
  EXPECT_EQ(p.noise_reuse, 3u);
  EXPECT_EQ(p.seed, ~0ULL);
  EXPECT_EQ(p.noise.rank, 5);
  EXPECT_EQ(p.noise.sigma_shift, 7);
  const ModelConfig m = model_config(config);
  EXPECT_EQ(to_metadata(m), (to_metadata({"egg", 12, 3, 99, "egg.c", "relu"})));
  EXPECT_EQ(optimiser(config).alpha.start_q30, 1u << 28);
  EXPECT_EQ(optimiser(config).alpha.decay_q30, 1073741u);
  EXPECT_EQ(valid_permille(config), 50u);  // the nearest
}

}  // namespace
}  // namespace clutch
