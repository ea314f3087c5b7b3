// What two backends are compared on, whole: a program with weights, states and text, and steps of evaluation
// and update in plain numbers. Nothing in it depends on a backend, so that a case can be kept as a file.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/backend.h"

namespace clutch::parity {

// Where both backends begin.
struct Start {
  Program program;
  NoiseShape noise;
  Weights weights;
  RuleMemory memory;
  std::uint32_t members = 0;  // of every evaluation
  std::vector<std::int8_t>
      states;  // [members][state_width]; empty: evaluations begin from zeros and carry none
};

// What EvaluateRequest asks for, with what it points to.
struct Evaluation {
  std::optional<NoiseSource> noise;
  std::uint32_t length = 0;
  std::vector<std::uint16_t> text;       // [streams][length + 1]
  std::vector<std::uint32_t> stream_of;  // [members]
};

struct Update {
  NoiseSource noise;
  std::vector<std::int8_t> fitness;  // [pairs]
  exact::RuleStep matrix, vector;
};

struct Step {
  std::optional<Evaluation> evaluation;
  std::optional<Update> update;
};

struct Case {
  Start start;
  std::vector<Step> steps;
};

// A random legal program with everything else at random too: `rounds` times a step of training and an
// evaluation without noise, then two updates more. The same on every machine.
Case random_case(std::uint64_t seed, int rounds = 2);

// The parts of it, for cases whose program is given: the caller sets Start's program, noise shape and, unless
// they are to be drawn, members. An odd number of members is evaluated without noise, which comes in pairs.
void randomise(std::uint64_t seed, Start& start);
std::vector<Step> random_steps(std::uint64_t seed, const Start& start, int rounds);

}  // namespace clutch::parity
