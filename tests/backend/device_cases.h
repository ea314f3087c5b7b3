// A backend against the reference on random programs, for devices that tests open by themselves: evaluation
// with noise, an update, evaluation without; traces, states and digests.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "backend/random_program.h"
#include "backend/reference/reference.h"
#include "evolution/rule.h"

namespace clutch::testing {

struct DeviceCase {
  Program program;
  NoiseShape noise = {};
  std::uint32_t members = 6, length = 5;
  exact::Rule rule = exact::Rule::threshold;
};

struct DeviceOutcome {
  std::vector<std::int64_t> losses;
  std::vector<std::int8_t> values;  // logits, states, traces
  std::vector<std::uint64_t> digests;
  Weights weights;
  RuleState rule_state;
};

inline void evaluate_case(Backend& backend, const DeviceCase& c, Random& random, bool noisy, States* states,
                          DeviceOutcome& outcome) {
  const auto text = random_text(random, 2 * (c.length + 1), c.program.vocab);
  std::vector<std::uint32_t> stream_of;
  for (std::uint32_t m = 0; m < c.members; ++m) stream_of.push_back(m % 2);
  EvaluateRequest request{
      .noise = {}, .length = c.length, .text = text, .stream_of = stream_of, .states = states};
  if (noisy) request.noise = NoiseSource{.seed = 0x123456789ABC, .epoch = 2, .first_pair = 7};
  const TraceSink keep = [&](std::uint32_t, std::uint32_t, std::span<const std::int8_t> values) {
    outcome.values.insert(outcome.values.end(), values.begin(), values.end());
  };
  const Status traced = backend.trace(request, c.members - 1, keep);
  ASSERT_TRUE(traced.ok()) << traced.message();
  std::vector<std::int64_t> losses(c.members);
  std::vector<std::int8_t> logits(std::size_t{c.members} * c.length * c.program.vocab);
  const Status evaluated = backend.evaluate(request, {.losses = losses, .logits = logits});
  ASSERT_TRUE(evaluated.ok()) << evaluated.message();
  outcome.losses.insert(outcome.losses.end(), losses.begin(), losses.end());
  outcome.values.insert(outcome.values.end(), logits.begin(), logits.end());
}

inline void run_case(Backend& backend, const DeviceCase& c, std::uint64_t seed, DeviceOutcome& outcome) {
  Random random(seed);
  const Weights weights = random_weights(random, c.program);
  const Status loaded = backend.load(c.program, c.noise, weights, {c.rule, {}});
  ASSERT_TRUE(loaded.ok()) << loaded.message();
  auto states = backend.new_states(c.members);
  ASSERT_TRUE(states.ok()) << states.status().message();
  std::vector<std::int8_t> values = random_states(random, c.program, c.members);
  ASSERT_TRUE(states.value()->write(values).ok());
  evaluate_case(backend, c, random, true, states.value().get(), outcome);
  std::vector<std::int8_t> fitness(c.members / 2 + 3);
  for (auto& f : fitness) f = static_cast<std::int8_t>(random.in(-2, 2));
  Optimiser optimiser;
  optimiser.rule = c.rule;
  optimiser.forget_q14 = optimiser.forget_square_q14 = 1638;
  optimiser.rate = {.start_q30 = 3ull << 30, .decay_q30 = 1 << 24};
  auto updated = backend.update({.noise = {.seed = seed, .epoch = 1},
                                 .fitness = fitness,
                                 .matrix = optimiser.at(0, fitness, c.noise.rank),
                                 .vector = optimiser.at(0, fitness, 1)});
  ASSERT_TRUE(updated.ok()) << updated.status().message();
  outcome.digests = {updated.value().moved, updated.value().digest};
  evaluate_case(backend, c, random, false, nullptr, outcome);
  ASSERT_TRUE(states.value()->read(values).ok());
  outcome.values.insert(outcome.values.end(), values.begin(), values.end());
  ASSERT_TRUE(backend.read_weights(outcome.weights, &outcome.rule_state).ok());
}

inline std::size_t first_difference(const std::vector<std::int8_t>& a, const std::vector<std::int8_t>& b) {
  return static_cast<std::size_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

inline void expect_like_reference(Backend& backend, const DeviceCase& c, std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  DeviceOutcome expected, actual;
  run_case(*make_reference_backend(), c, seed, expected);
  run_case(backend, c, seed, actual);
  EXPECT_EQ(actual.losses, expected.losses);
  EXPECT_EQ(actual.digests, expected.digests);
  EXPECT_TRUE(actual.values == expected.values)
      << "logits, states or traces, first at " << first_difference(actual.values, expected.values);
  EXPECT_TRUE(actual.weights == expected.weights) << "weights";
  EXPECT_TRUE(actual.rule_state == expected.rule_state) << "what the rule remembers";
}

// Draws until verify() accepts.
inline DeviceCase random_case(std::uint64_t seed) {
  Random random(seed);
  for (;;) {
    DeviceCase c{random_program(random, random.in(2, 300))};
    c.noise = {.rank = static_cast<int>(random.chance(60) ? 1 : random.in(2, 64)),
               .sigma_shift = static_cast<int>(random.in(0, 8))};
    c.rule = static_cast<exact::Rule>(random.in(0, std::size(exact::kRules) - 1));
    c.members = static_cast<std::uint32_t>(2 * random.in(1, 6));
    c.length = static_cast<std::uint32_t>(random.in(1, 12));
    if (verify(c.program, c.noise).ok()) return c;
  }
}

}  // namespace clutch::testing
