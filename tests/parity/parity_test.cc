// What a comparison finds: injected faults at every depth of a model, in updates, in losses and in traces,
// each with a case that shows it again; and that equal backends are equal.
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "backend/null/null.h"
#include "backend/random_program.h"
#include "backend/select.h"
#include "models/model.h"
#include "parity/case_file.h"
#include "parity/evolution.h"
#include "parity/faulty.h"

namespace clutch {
namespace {

using parity::Difference;
using parity::Evolution;
using parity::Outcome;
using parity::Start;
using testing::Fault;
using testing::FaultyBackend;

struct Setting {
  Start start;
  Evolution evolution;
};

Setting setting(const ModelConfig& config, exact::Rule rule = exact::Rule::threshold) {
  Setting s;
  s.start.noise = {.rank = 2, .sigma_shift = 3};
  s.start.program = build_program(config, s.start.noise).value();
  s.start.weights = initial_weights(s.start.program, 4);
  s.start.memory.rule = rule;
  s.start.members = 8;
  s.start.states.resize(8 * static_cast<std::size_t>(s.start.program.state_width()));
  s.evolution.population = {.size = 8, .group_size = 2, .seed = 9, .noise = s.start.noise};
  s.evolution.length = 12;
  s.evolution.steps = 3;
  s.evolution.optimiser.rule = rule;
  return s;
}

ModelConfig egg(std::int64_t layers) { return {.arch = "egg", .dim = 64, .layers = layers, .vocab = 64}; }

// Instructions whose tensor is of a layer, and whose result is not of a single value alone: a norm could
// swallow a change.
std::vector<int> instructions_of_layer(const Program& program, int layer) {
  std::vector<int> found;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const int tensor = program.instructions[i].tensor;
    if (tensor != kNothing && program.tensors[tensor].layer == layer) found.push_back(static_cast<int>(i));
  }
  return found;
}

Outcome compare(const Setting& s, const Fault& fault) {
  const auto reference = make_reference_backend();
  FaultyBackend faulty(fault);
  auto outcome = parity::run_evolution(*reference, faulty, s.start, s.evolution);
  EXPECT_TRUE(outcome.ok()) << outcome.status().message();
  return std::move(outcome).value();
}

// The case shows the same difference again, after a way through a file.
void expect_repeats(const Difference& difference, const Fault& fault) {
  // Tests run side by side, each as a process.
  const std::string path =
      ::testing::TempDir() + "/parity-case-of-test-" + std::to_string(getpid()) + ".safetensors";
  ASSERT_TRUE(parity::write_case(path, difference.repeat).ok());
  const auto read = parity::read_case(path);
  std::remove(path.c_str());
  ASSERT_TRUE(read.ok()) << read.status().message();
  const auto reference = make_reference_backend();
  FaultyBackend faulty(fault);
  const auto again = parity::run_case(*reference, faulty, read.value());
  ASSERT_TRUE(again.ok()) << again.status().message();
  ASSERT_TRUE(again.value().difference);
  const Difference& found = *again.value().difference;
  EXPECT_EQ(found.kind, difference.kind);
  EXPECT_EQ(found.instruction, difference.instruction);
  EXPECT_EQ(found.token, difference.token);
  EXPECT_EQ(found.tensor, difference.tensor);
  EXPECT_EQ(found.element, difference.element);
  EXPECT_EQ(found.a, difference.a);
  EXPECT_EQ(found.b, difference.b);
}

TEST(Parity, FindsAFaultAtEveryDepth) {
  const auto begun = std::chrono::steady_clock::now();
  const Setting s = setting(egg(6));
  testing::Random random(3);
  int found = 0;
  for (int layer = 0; layer < 6; ++layer) {
    const auto instructions = instructions_of_layer(s.start.program, layer);
    Fault fault;
    fault.result = Fault::Place{.pair = static_cast<std::uint32_t>(layer % 4),
                                .sign = static_cast<std::uint32_t>(layer / 2 % 2),
                                .token = static_cast<std::uint32_t>(layer * 2),
                                .instruction = instructions[random.in(0, std::ssize(instructions) - 1)],
                                .element = random.in(0, 63),
                                .evaluation = layer % 3};
    SCOPED_TRACE(layer);
    const Outcome outcome = compare(s, fault);
    ASSERT_TRUE(outcome.difference);
    const Difference& d = *outcome.difference;
    EXPECT_EQ(d.kind, Difference::Kind::kInstruction) << d.text;
    EXPECT_EQ(d.step, static_cast<std::uint64_t>(layer % 3)) << d.text;
    EXPECT_EQ(d.member, 2 * fault.result->pair + fault.result->sign) << d.text;
    EXPECT_EQ(d.token, fault.result->token) << d.text;
    EXPECT_EQ(static_cast<int>(d.instruction), fault.result->instruction) << d.text;
    EXPECT_EQ(d.element, fault.result->element) << d.text;
    EXPECT_EQ(std::abs(d.b), 99);
    EXPECT_NE(d.text.find("layer     " + std::to_string(layer) + "\n"), std::string::npos) << d.text;
    EXPECT_EQ(d.repeat.start.members, 2u) << "one pair is enough";
    EXPECT_EQ(d.repeat.steps[0].evaluation->length, fault.result->token + 1) << "as many tokens as it takes";
    fault.result->evaluation = -1;
    expect_repeats(d, fault);
    ++found;
  }
  EXPECT_EQ(found, 6);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  EXPECT_LT(took.count() / 6, 60) << "a minute each is what was promised";
}

// Tokens, members and elements at both ends, in a program with caches and positions.
TEST(Parity, FindsFaultsInATransformer) {
  const Setting s = setting({.arch = "transformer", .dim = 64, .layers = 2, .vocab = 50, .window = 7});
  const auto count = static_cast<int>(s.start.program.instructions.size());
  for (int instruction = 0; instruction < count; instruction += 7) {
    Fault fault;
    fault.result = Fault::Place{.pair = 3, .sign = 1, .token = 11, .instruction = instruction, .element = 5};
    const Outcome outcome = compare(s, fault);
    ASSERT_TRUE(outcome.difference) << instruction;
    EXPECT_EQ(static_cast<int>(outcome.difference->instruction), instruction) << outcome.difference->text;
    EXPECT_EQ(outcome.difference->token, 11u);
    EXPECT_EQ(outcome.difference->element, 5);
    expect_repeats(*outcome.difference, fault);
  }
}

// What the text says of a product can be added up to the reference's value.
TEST(Parity, OperandsExplainTheValue) {
  const Setting s = setting(egg(1));
  for (int i = 0; i < static_cast<int>(s.start.program.instructions.size()); ++i) {
    const Instruction& instruction = s.start.program.instructions[i];
    if (instruction.op != Op::matmul) continue;
    Fault fault;
    fault.result = Fault::Place{.pair = 2, .sign = 1, .token = 3, .instruction = i, .element = 1};
    const Outcome outcome = compare(s, fault);
    ASSERT_TRUE(outcome.difference);
    const std::string& text = outcome.difference->text;
    const auto number_after = [&](const std::string& words, std::size_t from) {
      const std::size_t at = text.find(words, from);
      EXPECT_NE(at, std::string::npos) << words << " in " << text;
      return std::stoll(text.substr(at + words.size()));
    };
    const std::int64_t sum = number_after("* W[1][k] = ", 0),
                       perturbation = number_after(") = ", text.find("perturbation: "));
    EXPECT_EQ(exact::clip(exact::divide_floor(sum + perturbation, instruction.divisor)),
              outcome.difference->a)
        << text;
  }
}

TEST(Parity, FindsAFaultInTheUpdate) {
  for (const exact::Rule rule : {exact::Rule::threshold, exact::Rule::adamw}) {
    const Setting s = setting(egg(6), rule);
    for (const int tensor : {0, 4, 25, 40}) {
      Fault fault;
      fault.weight = Fault::Weight{.tensor = tensor, .element = 63, .at = 1};
      const Outcome outcome = compare(s, fault);
      ASSERT_TRUE(outcome.difference);
      const Difference& d = *outcome.difference;
      EXPECT_EQ(d.kind, Difference::Kind::kUpdate);
      EXPECT_EQ(d.step, 1u);
      EXPECT_EQ(d.tensor, tensor);
      EXPECT_EQ(d.element, 63);
      EXPECT_NE(d.text.find("the rule gives " + std::to_string(d.a) + "\n"), std::string::npos)
          << "the vote in the text gives the reference's weight: " << d.text;
      EXPECT_EQ(outcome.compared.updates, 1u);
      fault.weight->at = 0;
      expect_repeats(d, fault);
    }
  }
}

TEST(Parity, SaysWhereNoInstructionIsAtFault) {
  Fault fault;
  fault.loss = true;
  const Outcome outcome = compare(setting(egg(1)), fault);
  ASSERT_TRUE(outcome.difference);
  EXPECT_EQ(outcome.difference->kind, Difference::Kind::kResults);
  EXPECT_EQ(outcome.difference->b - outcome.difference->a, 1);
  EXPECT_NE(outcome.difference->text.find("traces    are the same"), std::string::npos);
  EXPECT_NE(outcome.difference->text.find("logits    are the same"), std::string::npos);
  expect_repeats(*outcome.difference, fault);
}

TEST(Parity, FindsATraceThatLies) {
  Fault fault;
  fault.trace = true;
  const auto reference = make_reference_backend();
  FaultyBackend faulty(fault);
  const auto outcome = parity::run_case(*reference, faulty, parity::random_case(5));
  ASSERT_TRUE(outcome.ok());
  ASSERT_TRUE(outcome.value().difference);
  EXPECT_NE(outcome.value().difference->text.find("trace() alone is at fault"), std::string::npos);
}

TEST(Parity, EqualBackendsAreEqual) {
  for (const ModelConfig& config :
       {egg(2), ModelConfig{.arch = "transformer", .dim = 64, .vocab = 50, .window = 5}}) {
    const Setting s = setting(config, exact::Rule::momentum);
    const auto reference = make_reference_backend();
    const auto cpu = make_backend("cpu", 2).value();
    const auto outcome = parity::run_evolution(*reference, *cpu, s.start, s.evolution);
    ASSERT_TRUE(outcome.ok());
    EXPECT_FALSE(outcome.value().difference);
    EXPECT_EQ(outcome.value().compared.losses, 24u);
    EXPECT_EQ(outcome.value().compared.logits, 24u * 12 * static_cast<std::uint64_t>(config.vocab));
    EXPECT_EQ(outcome.value().compared.updates, 3u);
    EXPECT_EQ(outcome.value().compared.weights,
              3u * static_cast<std::uint64_t>(s.start.program.parameters()));
    Weights weights;
    ASSERT_TRUE(cpu->read_weights(weights).ok());
    EXPECT_EQ(outcome.value().compared.digest, digest(s.start.program, weights));
  }
}

// The null backend's losses are those of the noise, however a population is split, and weights stay.
TEST(Null, LossesAreOfTheNoiseWhateverTheShard) {
  const Setting s = setting(egg(1));
  const auto null = make_null_backend();
  ASSERT_TRUE(null->load(s.start.program, s.start.noise, s.start.weights).ok());
  const std::vector<std::uint16_t> text(13, 1);
  const auto losses = [&](std::uint32_t first_pair, std::uint32_t members, std::uint64_t seed,
                          std::uint32_t epoch) {
    const std::vector<std::uint32_t> stream_of(members, 0);
    std::vector<std::int64_t> out(members);
    EXPECT_TRUE(null->evaluate({.noise = NoiseSource{seed, epoch, first_pair},
                                .length = 12,
                                .text = text,
                                .stream_of = stream_of},
                               {.losses = out, .logits = {}})
                    .ok());
    return out;
  };
  const auto whole = losses(0, 40, 7, 2);
  auto parts = losses(0, 14, 7, 2);
  const auto rest = losses(7, 26, 7, 2);
  parts.insert(parts.end(), rest.begin(), rest.end());
  EXPECT_EQ(whole, parts);
  EXPECT_NE(whole, losses(0, 40, 8, 2));
  EXPECT_NE(whole, losses(0, 40, 7, 3));
  auto sorted = whole;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::unique(sorted.begin(), sorted.end()), sorted.end()) << "pairs and signs differ";
  const std::vector<std::int8_t> fitness(20, 1);
  const auto updated = null->update({.noise = {.seed = 7}, .fitness = fitness, .matrix = {}, .vector = {}});
  EXPECT_EQ(updated.value().moved, 0u);
  EXPECT_EQ(updated.value().digest, digest(s.start.program, s.start.weights));
}

}  // namespace
}  // namespace clutch
