// A tile's shape changes no result: members, chunks, stretches in which tokens come again; and what a
// schedule takes for the same wherever a token comes again.
#include "backend/cpu/tile.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "backend/cpu/isa_list.h"
#include "backend/host_states.h"
#include "backend/random_program.h"
#include "backend/reference/reference.h"
#include "models/model.h"

namespace clutch::cpu {
namespace {

using clutch::testing::Random;

std::vector<std::string> names_kept(const ModelConfig& config) {
  const Program program = build_program(config, {}).value();
  std::vector<std::string> names;
  for (const int slot : make_schedule(program, Shortcuts::kAll).kept)
    names.push_back(program.slots[slot].name);
  return names;
}

// The products with the first layer's input, and what the rest reads of it.
TEST(Schedule, KnowsWhatDependsOnTheTokenAlone) {
  EXPECT_EQ(names_kept({.dim = 64, .layers = 2}),
            (std::vector<std::string>{"embedded", "layer0.wf", "layer0.wh"}));
  EXPECT_EQ(
      names_kept({.arch = "transformer", .dim = 64, .layers = 2, .window = 16}),
      (std::vector<std::string>{"first", "layer0.att.q_product", "layer0.att.k_product", "layer0.att.v"}));
}

TEST(Schedule, WithoutShortcutsEverythingRunsForEveryToken) {
  const Program program = build_program({.dim = 64, .layers = 2}, {}).value();
  const Schedule schedule = make_schedule(program, Shortcuts::kNone);
  EXPECT_TRUE(schedule.kept.empty());
  for (const Group& group : schedule.groups) EXPECT_FALSE(group.by_token);
}

struct Outcome {
  std::vector<std::int64_t> losses;
  std::vector<std::int8_t> logits, states;
  bool operator==(const Outcome&) const = default;
};

// A program with a text that several members read, in part the same.
struct Evaluation {
  static constexpr std::uint32_t kMembers = 6, kStreams = 3, kLength = 24;
  Evaluation(Random& random, Program the_program) : program(std::move(the_program)) {
    shape.rank = static_cast<int>(random.in(1, 2));
    weights = testing::random_weights(random, program);
    states = testing::random_states(random, program, kMembers);
    text = testing::random_text(random, std::size_t{kStreams} * (kLength + 1), program.vocab);
    // Some of it comes again and again, in two of the streams.
    for (std::size_t i = 0; i < 2 * kLength; ++i) text[i] %= 5;
    for (std::uint32_t m = 0; m < kMembers; ++m)
      stream_of.push_back(static_cast<std::uint32_t>(random.in(0, kStreams - 1)));
    if (random.chance(80)) noise = NoiseSource{.seed = 3, .epoch = 5, .first_pair = 7};
  }
  EvaluateRequest request(States* of) const {
    return {.noise = noise, .length = kLength, .text = text, .stream_of = stream_of, .states = of};
  }
  Outcome empty() const {
    return {std::vector<std::int64_t>(kMembers),
            std::vector<std::int8_t>(std::size_t{kMembers} * kLength * program.vocab), states};
  }
  Outcome by_reference() const {
    Outcome outcome = empty();
    const auto reference = make_reference_backend();
    EXPECT_TRUE(reference->load(program, shape, weights).ok());
    HostStates of(kMembers, program.state_width());
    of.values = states;
    EXPECT_TRUE(reference->evaluate(request(&of), {outcome.losses, outcome.logits}).ok());
    outcome.states = of.values;
    return outcome;
  }
  Outcome by_tile(const LoadedModel& model, const Schedule& schedule, const TileShape& tile) const {
    Outcome outcome = empty();
    HostStates carries(kMembers, program.state_width());
    TileEvaluator evaluator(model, schedule, tile);
    evaluator.run(request(&carries), {outcome.losses, outcome.logits}, 0, kMembers, outcome.states.data());
    return outcome;
  }

  Program program;
  NoiseShape shape;
  Weights weights;
  std::vector<std::int8_t> states;
  std::vector<std::uint16_t> text;
  std::vector<std::uint32_t> stream_of;
  std::optional<NoiseSource> noise;
};

void expect_no_difference(const Evaluation& evaluation, const Kernels& kernels) {
  const Outcome expected = evaluation.by_reference();
  const LoadedModel model(evaluation.program, evaluation.shape,
                          verify(evaluation.program, evaluation.shape).value(), evaluation.weights, kernels);
  const TileShape shapes[] = {{6, 24, 24}, {6, 8, 8},  {6, 8, 24}, {6, 5, 15},
                              {6, 1, 1},   {6, 1, 24}, {7, 4, 12}};
  for (const bool always : {true, false}) {
    Schedule schedule = model.schedule;
    if (always) schedule.token_multiplies = 1 << 30;  // so that keeping rows pays however few come again
    for (const TileShape& shape : shapes) {
      EXPECT_EQ(evaluation.by_tile(model, schedule, shape), expected)
          << kernels.name << ", " << shape.members << " members, chunks of " << shape.chunk
          << ", stretches of " << shape.stretch << (always ? ", rows always kept" : "");
    }
  }
}

TEST(Tile, ShapesChangeNothing) {
  const Kernels& scalar = *find_kernels("scalar").value();
  int with_kept = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    Random random(seed);
    Evaluation evaluation(random, testing::random_program(random, random.in(2, 300)));
    if (!verify(evaluation.program, evaluation.shape).ok()) continue;
    with_kept += !make_schedule(evaluation.program, Shortcuts::kAll).kept.empty();
    expect_no_difference(evaluation, scalar);
  }
  EXPECT_GT(with_kept, 15) << "too few random programs have something that depends on the token alone";
}

TEST(Tile, ShapesChangeNothingOfArchitectures) {
  for (const Isa& isa : instruction_sets()) {
    if (*isa.missing() != '\0') continue;
    for (const ModelConfig& config :
         {ModelConfig{.dim = 64, .layers = 2},
          ModelConfig{.arch = "transformer", .dim = 64, .layers = 1, .window = 10}}) {
      Random random(11);
      expect_no_difference(Evaluation(random, build_program(config, {}).value()), isa.kernels());
    }
  }
}

}  // namespace
}  // namespace clutch::cpu
