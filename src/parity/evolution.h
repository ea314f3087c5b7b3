// Steps of training by two backends at once: both evaluate, the fitness comes from the losses they agree on,
// both update.
#pragma once

#include <cstdint>

#include "data/corpus.h"
#include "evolution/fitness.h"
#include "evolution/population.h"
#include "evolution/rule.h"
#include "parity/lockstep.h"

namespace clutch::parity {

struct Evolution {
  Population population;  // its size is Start::members
  std::uint32_t length = 32;
  std::uint64_t first_step = 0, steps = 3;
  FitnessShape fitness = FitnessShape::scaled;
  Optimiser optimiser;
  const Corpus* corpus = nullptr;  // null: random tokens, drawn by the population's seed
};

// Up to the first difference.
Result<Outcome> run_evolution(Backend& a, Backend& b, const Start& start, const Evolution& evolution);

}  // namespace clutch::parity
