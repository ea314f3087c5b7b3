#include "parity/evolution.h"

#include "backend/random_program.h"
#include "data/streams.h"

namespace clutch::parity {
namespace {

Evaluation evaluation_of(const Program& program, const Evolution& evolution, std::uint64_t step) {
  const Population& population = evolution.population;
  Evaluation evaluation;
  evaluation.noise = NoiseSource{.seed = population.seed, .epoch = population.epoch(step), .first_pair = 0};
  evaluation.length = evolution.length;
  const std::size_t width = evolution.length + std::size_t{1};
  if (evolution.corpus == nullptr) {
    testing::Random random(population.seed + step);
    evaluation.text = testing::random_text(random, population.streams() * width, program.vocab);
  } else {
    evaluation.text.resize(population.streams() * width);
    for (std::uint32_t s = 0; s < population.streams(); ++s) {
      read_window(*evolution.corpus,
                  {.stream = s, .streams = population.streams(), .step = step, .tokens = evolution.length},
                  evaluation.text.data() + s * width);
    }
  }
  for (std::uint32_t m = 0; m < population.size; ++m) evaluation.stream_of.push_back(population.stream_of(m));
  return evaluation;
}

}  // namespace

Result<Outcome> run_evolution(Backend& a, Backend& b, const Start& start, const Evolution& evolution) {
  check_equal(evolution.population.size, start.members, "members of the population");
  Lockstep lockstep(a, b, start, evolution.first_step);
  CLUTCH_RETURN_IF_ERROR(lockstep.load());
  for (std::uint64_t step = evolution.first_step; step < evolution.first_step + evolution.steps; ++step) {
    const Evaluation evaluation = evaluation_of(start.program, evolution, step);
    auto difference = lockstep.evaluate(evaluation);
    if (!difference.ok()) return difference.status();
    if (difference.value()) return Outcome{lockstep.compared(), std::move(difference).value()};
    Update update;
    update.noise = *evaluation.noise;
    update.fitness = fitness_of(evolution.fitness, comparable(lockstep.losses(), evolution.population),
                                evolution.population.group_pairs());
    update.matrix = evolution.optimiser.at(step, update.fitness, start.noise.rank);
    update.vector = evolution.optimiser.at(step, update.fitness, 1);
    difference = lockstep.update(update);
    if (!difference.ok()) return difference.status();
    if (difference.value()) return Outcome{lockstep.compared(), std::move(difference).value()};
    lockstep.next_step();
  }
  return Outcome{lockstep.compared(), {}};
}

}  // namespace clutch::parity
