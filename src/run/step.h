// The one way a step's fitness becomes new weights, used by training, replay and audit alike.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/backend.h"
#include "data/streams.h"
#include "evolution/population.h"
#include "evolution/rule.h"

namespace clutch {

// The noise of step `step` for a shard that begins at first_pair.
inline NoiseSource noise_of_step(const Population& population, std::uint64_t step,
                                 std::uint32_t first_pair = 0) {
  return {.seed = population.seed, .epoch = population.epoch(step), .first_pair = first_pair};
}

// The text of step `step` for members [2 * first_pair, 2 * (first_pair + pairs)): the streams they read, and
// who reads which.
struct StepText {
  std::vector<Token> text;               // [streams][length + 1]
  std::vector<std::uint32_t> stream_of;  // [members], counted from the first stream here
};

inline StepText text_of_step(const Corpus& corpus, const Population& population, std::uint64_t step,
                             std::uint32_t length, std::uint32_t first_pair, std::uint32_t pairs) {
  const std::uint32_t first_member = 2 * first_pair, end_member = 2 * (first_pair + pairs);
  const std::uint32_t first = population.stream_of(first_member),
                      end = population.stream_of(end_member - 1) + 1;
  StepText result;
  result.text.resize(std::size_t{end - first} * (length + 1));
  for (std::uint32_t s = first; s < end; ++s) {
    read_window(corpus, {.stream = s, .streams = population.streams(), .step = step, .tokens = length},
                result.text.data() + std::size_t{s - first} * (length + 1));
  }
  for (std::uint32_t m = first_member; m < end_member; ++m)
    result.stream_of.push_back(population.stream_of(m) - first);
  return result;
}

// Applies the update of step `step` (counted from 0) to the weights that the backend holds. fitness [pairs].
inline Result<UpdateResult> apply_step(Backend& backend, const Population& population,
                                       const Optimiser& optimiser, std::uint64_t step,
                                       std::span<const std::int8_t> fitness) {
  return backend.update({.noise = noise_of_step(population, step),
                         .fitness = fitness,
                         .matrix = optimiser.at(step, fitness, population.noise.rank),
                         .vector = optimiser.at(step, fitness, 1)});
}

}  // namespace clutch
