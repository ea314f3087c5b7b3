// The configuration of a run: one list of knobs from which come the flags, the help, config.json and the
// check of what a resume may change.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/status.h"
#include "evolution/fitness.h"
#include "evolution/population.h"
#include "evolution/rule.h"
#include "models/model.h"

namespace clutch {

// Flat on purpose: a field per knob, of one of three types. Decimal numbers stay text, so that the integers
// made of them are the same everywhere.
struct RunConfig {
  std::vector<std::string> data;
  std::string valid;
  std::string valid_fraction = "0.05";
  std::string init;
  std::string arch = "egg";
  std::int64_t dim = 64, layers = 1, vocab = 256, window = 0;
  std::string dialect = "nano-egg", activation = "none";
  std::int64_t population = 1024, noise_reuse = 1, rank = 1, sigma_shift = 3;
  std::int64_t texts_per_pair = 2, group_size = 0;
  std::int64_t tokens_per_update = 25;
  std::string rule = "momentum";
  std::string alpha = "0.5", alpha_decay = "0.002";
  std::string momentum = "0.97", square_momentum = "0.999", rate = "1", rate_decay = "0.0075";
  std::string weight_decay = "0.0005";
  std::string schedule;  // empty is for the one that goes with the rule, until it is resolved
  std::int64_t schedule_steps = 0, warmup = 0, cooldown = 0;
  std::string fitness = "scaled";
  std::string carry = "keep";
  std::int64_t seed = 0, steps = 4000;

  std::int64_t validate_every = 500, valid_tokens = 131072, sample_every = 0, inspect_every = 0,
               tensorboard = 0;
  std::int64_t checkpoint_every = 500, keep = 3;
  std::string sync = "second";
  std::string backend = "cpu";
  std::int64_t threads = 0, pin = 0;
};

enum class KnobGroup : std::uint8_t {
  kMeaning,  // decides the bits of the run; fixed once it has begun
  kLength,   // how far it goes; a resume may change it
  kComfort,  // never changes a bit
};

struct Knob {
  using Field = std::variant<std::int64_t RunConfig::*, std::string RunConfig::*,
                             std::vector<std::string> RunConfig::*>;
  const char* name;  // of the flag, without dashes in front; config.json has '_' for '-'
  Field field;
  KnobGroup group;
  const char* help;  // what it does, and when to touch it

  std::string key() const;
};

const std::vector<Knob>& knobs();

// config.json: an object with one member per knob, in the list's order. Parsing fills in defaults for absent
// members (but 1 for texts_per_pair, as in runs from before that knob) and refuses unknown ones and wrong
// types, naming `name`.
std::string to_json(const RunConfig& config);
Result<RunConfig> config_from_json(std::string_view text, const std::string& name);

// The parts of a configuration that other folders understand. Sizes are checked where they are used.
ModelConfig model_config(const RunConfig& config);
Population population(const RunConfig& config);

// Checks every knob that build_program does not; fails naming the flag. An alpha above 1 is replaced by what
// it stands for: alpha 1 and alpha-decay (2^alpha - 1) / 1000.
Status resolve(RunConfig& config);

// Of a resolved config.
Optimiser optimiser(const RunConfig& config);
std::uint32_t valid_permille(const RunConfig& config);

// floor(x · 2^30) of a decimal number in [0, 2^20) such as "0.002" or "1e-3"; fails naming `flag`.
Result<std::uint64_t> parse_decimal_q30(const std::string& text, const std::string& flag);

}  // namespace clutch
