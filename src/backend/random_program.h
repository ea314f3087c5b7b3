// Random legal programs, weights, text and states, to compare backends on: a pure function of a seed, which
// whoever draws prints.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

#include "program/program.h"

namespace clutch::testing {

// Uniform in [low, high]; the standard engine's sequence is the same everywhere, its distributions are not.
class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  std::int64_t in(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(engine_() % static_cast<std::uint64_t>(high - low + 1));
  }
  bool chance(int percent) { return in(1, 100) <= percent; }

 private:
  std::mt19937_64 engine_;
};

// Widths around the padding of vectors, odd ones, and 1.
inline constexpr std::int64_t kOddWidths[] = {1, 2, 3, 7, 16, 31, 63, 64, 65, 100, 128, 130, 257};

// An embedding, then ops drawn at random over the slots so far, states tied to random results, then a head.
// Widths can be such that verify() refuses it for some NoiseShape.
Program random_program(Random& random, std::int64_t vocab);

// Weights over the whole range, extremes included more often than chance would have it.
Weights random_weights(Random& random, const Program& program);

// Of all members; most counts of positions are such as a run leaves.
std::vector<std::int8_t> random_states(Random& random, const Program& program, std::uint32_t members);

// Tokens with a document start now and then.
std::vector<std::uint16_t> random_text(Random& random, std::size_t count, std::int64_t vocab);

}  // namespace clutch::testing
