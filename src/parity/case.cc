#include "parity/case.h"

#include "backend/random_program.h"
#include "evolution/rule.h"

namespace clutch::parity {
namespace {

using testing::Random;

// A rule, and what it may remember: values up to its limits, or nothing yet.
RuleMemory random_memory(Random& random, const Program& program) {
  RuleMemory memory;
  memory.rule = static_cast<exact::Rule>(random.in(0, std::size(exact::kRules) - 1));
  if (random.chance(30)) return memory;
  memory.state = whole_rule_state(program, memory);
  for (std::size_t k = 0; k < memory.state.size(); ++k) {
    const exact::RuleStateEntry& limits = exact::entry(memory.rule).states[k];
    for (auto& tensor : memory.state[k]) {
      for (auto& word : tensor) {
        word = static_cast<std::int32_t>(random.in(limits.least, limits.most));
        if (random.chance(20)) word = random.chance(50) ? limits.least : limits.most;
      }
    }
  }
  return memory;
}

Evaluation random_evaluation(Random& random, const Start& start, bool noisy) {
  const auto length = static_cast<std::uint32_t>(random.in(1, 40));
  const std::int64_t streams = random.in(1, 5);
  Evaluation evaluation{.noise = {}, .length = length, .text = {}, .stream_of = {}};
  evaluation.text =
      testing::random_text(random, static_cast<std::size_t>(streams * (length + 1)), start.program.vocab);
  for (std::uint32_t m = 0; m < start.members; ++m)
    evaluation.stream_of.push_back(static_cast<std::uint32_t>(random.in(0, streams - 1)));
  const auto first_pair = static_cast<std::uint32_t>(random.in(0, 1000));
  const auto seed = static_cast<std::uint64_t>(random.in(0, INT64_MAX - 1));
  if (noisy) evaluation.noise = NoiseSource{.seed = seed, .epoch = 3, .first_pair = first_pair};
  return evaluation;
}

Update random_update(Random& random, const Start& start) {
  Update update;
  update.noise = {.seed = static_cast<std::uint64_t>(random.in(0, INT64_MAX - 1)), .epoch = 9};
  update.fitness.resize(static_cast<std::size_t>(random.in(1, 30)));
  for (auto& f : update.fitness)
    f = static_cast<std::int8_t>(random.chance(50) ? random.in(-1, 1) : random.in(-127, 127));
  Optimiser optimiser;
  optimiser.rule = start.memory.rule;
  optimiser.forget_q14 = static_cast<std::int32_t>(random.in(1, 1 << exact::kForgetBits));
  optimiser.forget_square_q14 = static_cast<std::int32_t>(random.in(1, 1 << exact::kForgetBits));
  optimiser.decay_q30 = static_cast<std::uint64_t>(random.chance(50) ? 0 : random.in(0, 1 << 30));
  optimiser.rate.start_q30 = static_cast<std::uint64_t>(random.in(1 << 18, std::int64_t{1} << 33));
  update.matrix = optimiser.at(0, update.fitness, start.noise.rank);
  update.vector = optimiser.at(0, update.fitness, 1);
  update.matrix.threshold = random.in(0, 2000);
  update.vector.threshold = random.in(0, 2000);
  return update;
}

}  // namespace

void randomise(std::uint64_t seed, Start& start) {
  Random random(seed);
  start.weights = testing::random_weights(random, start.program);
  start.memory = random_memory(random, start.program);
  if (start.members == 0) start.members = static_cast<std::uint32_t>(2 * random.in(1, 20));
  if (random.chance(85)) start.states = testing::random_states(random, start.program, start.members);
}

std::vector<Step> random_steps(std::uint64_t seed, const Start& start, int rounds) {
  Random random(seed + 1);
  std::vector<Step> steps;
  for (int round = 0; round < rounds; ++round) {
    steps.push_back({random_evaluation(random, start, start.members % 2 == 0), random_update(random, start)});
    steps.push_back({random_evaluation(random, start, false), {}});
  }
  for (int more = 0; more < 2; ++more) steps.push_back({{}, random_update(random, start)});
  return steps;
}

// Draws until verify() accepts: widths and ranks at random can overflow, which is then refused.
Case random_case(std::uint64_t seed, int rounds) {
  Random random(seed);
  for (;;) {
    Case c;
    c.start.program = testing::random_program(random, random.in(2, 300));
    c.start.noise = {.rank = static_cast<int>(random.chance(60) ? 1 : random.in(2, 9)),
                     .sigma_shift = static_cast<int>(random.in(0, 8))};
    if (!verify(c.start.program, c.start.noise).ok()) continue;
    randomise(seed, c.start);
    c.steps = random_steps(seed, c.start, rounds);
    return c;
  }
}

}  // namespace clutch::parity
