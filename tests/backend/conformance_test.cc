// Every backend of this machine against the reference interpreter: random programs, weights, text and states,
// through evaluation with and without noise, updates and traces. Equality is of every byte. A failure prints
// its seed; CLUTCH_TEST_SEED=<seed> repeats just that case, CLUTCH_TEST_CASES=<n> runs more.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <tuple>

#include "backend/random_program.h"
#include "backend/select.h"
#include "evolution/rule.h"

namespace clutch {
namespace {

using testing::Random;

struct Case {
  std::uint64_t seed;
  Program program;
  NoiseShape noise;
  Weights weights;
  std::uint32_t members, length, streams;
  std::int64_t pairs = 0;  // of updates; 0: at random
  RuleMemory memory = {};
};

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

// Draws until verify() accepts: widths and ranks at random can overflow, which is then refused.
Case make_case(std::uint64_t seed) {
  Random random(seed);
  for (;;) {
    Case c{seed, testing::random_program(random, random.in(2, 300)), {}, {}, 0, 0, 0};
    c.noise = {.rank = static_cast<int>(random.chance(60) ? 1 : random.in(2, 9)),
               .sigma_shift = static_cast<int>(random.in(0, 8))};
    if (!verify(c.program, c.noise).ok()) continue;
    c.weights = testing::random_weights(random, c.program);
    c.members = static_cast<std::uint32_t>(2 * random.in(1, 20));
    c.length = static_cast<std::uint32_t>(random.in(1, 40));
    c.streams = static_cast<std::uint32_t>(random.in(1, 5));
    c.memory = random_memory(random, c.program);
    return c;
  }
}

// All that one backend says of a case: losses, logits, states, weights, digests, traces.
struct Outcome {
  std::vector<std::int64_t> losses;
  std::vector<std::int8_t> logits, states, trace;
  std::vector<std::uint64_t> moved_and_digests;
  Weights weights;
  RuleState rule_state;
  bool operator==(const Outcome&) const = default;
};

void evaluate(Backend& backend, const Case& c, Random& random, bool noisy, States& states, Outcome& outcome) {
  const auto text = testing::random_text(random, std::size_t{c.streams} * (c.length + 1), c.program.vocab);
  std::vector<std::uint32_t> stream_of;
  for (std::uint32_t m = 0; m < c.members; ++m)
    stream_of.push_back(static_cast<std::uint32_t>(random.in(0, c.streams - 1)));
  EvaluateRequest request{
      .noise = {}, .length = c.length, .text = text, .stream_of = stream_of, .states = &states};
  const auto first_pair = static_cast<std::uint32_t>(random.in(0, 1000));
  if (noisy) request.noise = NoiseSource{.seed = c.seed * 77, .epoch = 3, .first_pair = first_pair};

  const auto traced = static_cast<std::uint32_t>(random.in(0, c.members - 1));
  const TraceSink keep = [&](std::uint32_t, std::uint32_t, std::span<const std::int8_t> values) {
    outcome.trace.insert(outcome.trace.end(), values.begin(), values.end());
  };
  ASSERT_TRUE(backend.trace(request, traced, keep).ok());
  std::vector<std::int64_t> losses(c.members);
  std::vector<std::int8_t> logits(std::size_t{c.members} * c.length * c.program.vocab);
  ASSERT_TRUE(backend.evaluate(request, {.losses = losses, .logits = logits}).ok());
  outcome.losses.insert(outcome.losses.end(), losses.begin(), losses.end());
  outcome.logits.insert(outcome.logits.end(), logits.begin(), logits.end());
}

void update(Backend& backend, const Case& c, Random& random, Outcome& outcome) {
  std::vector<std::int8_t> fitness(c.pairs > 0 ? c.pairs : random.in(1, 30));
  for (auto& f : fitness)
    f = static_cast<std::int8_t>(random.chance(50) ? random.in(-1, 1) : random.in(-127, 127));
  Optimiser optimiser;
  optimiser.rule = c.memory.rule;
  optimiser.forget_q14 = static_cast<std::int32_t>(random.in(1, 1 << exact::kForgetBits));
  optimiser.forget_square_q14 = static_cast<std::int32_t>(random.in(1, 1 << exact::kForgetBits));
  optimiser.decay_q30 = static_cast<std::uint64_t>(random.chance(50) ? 0 : random.in(0, 1 << 30));
  optimiser.rate.start_q30 = static_cast<std::uint64_t>(random.in(1 << 18, std::int64_t{1} << 33));
  UpdateRequest request{.noise = {.seed = c.seed, .epoch = 9},
                        .fitness = fitness,
                        .matrix = optimiser.at(0, fitness, c.noise.rank),
                        .vector = optimiser.at(0, fitness, 1)};
  request.matrix.threshold = random.in(0, 2000);
  request.vector.threshold = random.in(0, 2000);
  auto result = backend.update(request);
  ASSERT_TRUE(result.ok());
  outcome.moved_and_digests.push_back(result.value().moved);
  outcome.moved_and_digests.push_back(result.value().digest);
}

Outcome run(const std::string& backend_name, int threads, const Case& c) {
  Random random(c.seed + 1);
  Outcome outcome;
  auto made = make_backend(backend_name, threads);
  EXPECT_TRUE(made.ok()) << made.status().message();
  Backend& backend = *made.value();
  EXPECT_TRUE(backend.load(c.program, c.noise, c.weights, c.memory).ok());
  auto states = backend.new_states(c.members);
  EXPECT_TRUE(states.ok());
  outcome.states = testing::random_states(random, c.program, c.members);
  states.value()->write(outcome.states);
  for (int round = 0; round < 2; ++round) {
    evaluate(backend, c, random, true, *states.value(), outcome);
    update(backend, c, random, outcome);
    evaluate(backend, c, random, false, *states.value(), outcome);
  }
  for (int round = 0; round < 3; ++round) update(backend, c, random, outcome);
  states.value()->read(outcome.states);
  EXPECT_TRUE(backend.read_weights(outcome.weights, &outcome.rule_state).ok());
  EXPECT_EQ(outcome.moved_and_digests.back(), digest(c.program, outcome.weights));
  return outcome;
}

int cases() {
  const char* text = std::getenv("CLUTCH_TEST_CASES");
  return text == nullptr ? 25 : std::atoi(text);
}

class Conformance : public ::testing::TestWithParam<std::string> {};

TEST_P(Conformance, EqualsTheReference) {
  const char* only = std::getenv("CLUTCH_TEST_SEED");
  const std::uint64_t first = only == nullptr ? 1 : std::strtoull(only, nullptr, 10);
  for (std::uint64_t seed = first; seed < first + (only == nullptr ? cases() : 1); ++seed) {
    SCOPED_TRACE("CLUTCH_TEST_SEED=" + std::to_string(seed));
    const Case c = make_case(seed);
    const Outcome expected = run("reference", 1, c);
    for (const int threads : {1, 3}) {
      const Outcome actual = run(GetParam(), threads, c);
      ASSERT_EQ(actual.trace == expected.trace, true) << "traces differ";
      ASSERT_EQ(actual.losses, expected.losses);
      ASSERT_EQ(actual.logits == expected.logits, true) << "logits differ";
      ASSERT_EQ(actual.states == expected.states, true) << "states differ";
      ASSERT_EQ(actual.moved_and_digests, expected.moved_and_digests);
      ASSERT_EQ(actual.weights == expected.weights, true) << "weights differ";
      ASSERT_EQ(actual.rule_state == expected.rule_state, true) << "what the rule remembers differs";
    }
  }
}

void expect_equal(const std::string& backend, int threads, const Case& c) {
  EXPECT_EQ(run(backend, threads, c) == run("reference", 1, c), true);
}

// Products over so many inputs that projections need more than 24 bits, in a chunk and between states, and
// divisors beyond a 16-bit multiplier.
TEST_P(Conformance, WideProducts) {
  Random random(5);
  for (const std::int64_t divisor : {16 * 54, 16 * 181, 3}) {
    Case c{5, {}, {}, {}, 4, 3, 2};
    Builder b("wide", 20);
    const int h = b.state("h", 3000);
    const int x = b.embed("x", b.matrix("E", TensorSpec::kUnstacked, 20, 3000));
    const int y = b.matmul("y", x, b.matrix("W", TensorSpec::kUnstacked, 70, 3000), divisor);
    const int z = b.matmul("z", h, b.matrix("U", TensorSpec::kUnstacked, 70, 3000), divisor);
    const int up = b.matmul("up", b.add("s", y, z), b.matrix("V", TensorSpec::kUnstacked, 3000, 70), 40);
    b.set_state(h, up);
    c.program = b.finish(b.matmul("logits", y, b.matrix("head", TensorSpec::kUnstacked, 20, 70), 64));
    c.weights = testing::random_weights(random, c.program);
    expect_equal(GetParam(), 2, c);
  }
}

// Attention over long windows, with queries in chunks of many lengths and everything at its largest.
TEST_P(Conformance, LongWindows) {
  for (const std::int64_t window : {100, 512, 1024}) {
    Random random(static_cast<std::uint64_t>(window));
    Case c{static_cast<std::uint64_t>(window), {}, {}, {}, 2, static_cast<std::uint32_t>(window) + 30, 1};
    Builder b("long", 40, window);
    const int x = b.embed("x", b.matrix("E", TensorSpec::kUnstacked, 40, 64));
    const int q = b.rotate("q", x), k = b.rescale("k", x);
    const int seen = b.attend("seen", q, k, x), last = b.attend("last", seen, seen, k);
    c.program = b.finish(b.matmul("logits", b.add_rescale("sum", seen, last), 0, 64));
    c.weights = testing::random_weights(random, c.program);
    expect_equal(GetParam(), 2, c);
  }
}

// Without states every evaluation begins from zeros, and a second one says the same.
TEST_P(Conformance, NoStatesAreZeroStates) {
  for (const std::uint64_t seed : {11, 12, 13, 14, 15, 16}) {
    const Case c = make_case(seed);
    auto backend = make_backend(GetParam(), 2).value();
    ASSERT_TRUE(backend->load(c.program, c.noise, c.weights).ok());
    Random random(seed);
    const auto text = testing::random_text(random, c.length + 1, c.program.vocab);
    const std::vector<std::uint32_t> stream_of(c.members, 0);
    EvaluateRequest request{.noise = NoiseSource{.seed = seed},
                            .length = c.length,
                            .text = text,
                            .stream_of = stream_of,
                            .states = nullptr};
    std::vector<std::int64_t> fresh(c.members), again(c.members), expected(c.members);
    ASSERT_TRUE(backend->evaluate(request, {.losses = fresh, .logits = {}}).ok());
    ASSERT_TRUE(backend->evaluate(request, {.losses = again, .logits = {}}).ok());
    const auto states = backend->new_states(c.members).value();
    request.states = states.get();
    ASSERT_TRUE(backend->evaluate(request, {.losses = expected, .logits = {}}).ok());
    EXPECT_EQ(fresh, expected) << seed;
    EXPECT_EQ(again, expected) << seed;
  }
}

// More pairs than votes are taken from at a time, by every rule.
TEST_P(Conformance, ManyPairs) {
  for (std::size_t rule = 0; rule < std::size(exact::kRules); ++rule) {
    Random random(6);
    Case c{6, {}, {}, {}, 2, 1, 1, 17'000, {.rule = static_cast<exact::Rule>(rule)}};
    Builder b("small", 5);
    const int x = b.embed("x", b.matrix("E", TensorSpec::kUnstacked, 5, 6));
    const int y = b.add_bias("y", x, x, b.vector("b", TensorSpec::kUnstacked, 6, 1));
    c.program = b.finish(b.matmul("logits", y, b.matrix("head", TensorSpec::kUnstacked, 5, 6), 64));
    c.weights = testing::random_weights(random, c.program);
    expect_equal(GetParam(), 2, c);
  }
}

std::vector<std::string> runnable_backends() {
  std::vector<std::string> names;
  for (const BackendEntry& entry : list_backends()) {
    if (entry.unavailable.empty() && entry.name != "reference") names.push_back(entry.name);
  }
  // Several that share a population: of two kinds, and more parts than some cases have pairs.
  if (std::count(names.begin(), names.end(), "cpu:scalar") > 0) {
    names.push_back("cpu:scalar,cpu");
    names.push_back("cpu,cpu:scalar,reference");
  }
  return names;
}

INSTANTIATE_TEST_SUITE_P(Backends, Conformance, ::testing::ValuesIn(runnable_backends()),
                         [](const auto& test) {
                           std::string name = test.param;
                           for (char& letter : name) letter = letter == ':' || letter == ',' ? '_' : letter;
                           return name;
                         });

}  // namespace
}  // namespace clutch
