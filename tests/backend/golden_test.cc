// Steps of training whose digests are written down: on every backend of this machine, and under an emulator
// on every one of another. Needs nothing but evolution, models and backends, so that it can be built for any
// target.
#include <gtest/gtest.h>

#include "backend/select.h"
#include "evolution/fitness.h"
#include "evolution/rule.h"
#include "models/model.h"

namespace clutch {
namespace {

constexpr std::uint32_t kMembers = 32, kLength = 20;
constexpr int kSteps = 5;

// Text that repeats itself, so that there is something to learn; each document starts with token 0.
std::vector<std::uint16_t> make_text(std::uint32_t step) {
  std::vector<std::uint16_t> text(std::size_t{kMembers / 2} * (kLength + 1));
  for (std::size_t i = 0; i < text.size(); ++i) {
    text[i] = static_cast<std::uint16_t>((i * i + step * i) % 17 == 0 ? 0 : 97 + (i * 7 + step) % 5);
  }
  return text;
}

std::vector<std::uint64_t> train(Backend& backend, const Program& program, const NoiseShape& noise,
                                 FitnessShape shape, const Optimiser& optimiser) {
  EXPECT_TRUE(backend.load(program, noise, initial_weights(program, 11), {optimiser.rule, {}}).ok());
  auto states = backend.new_states(kMembers);
  std::vector<std::uint32_t> stream_of;
  for (std::uint32_t m = 0; m < kMembers; ++m) stream_of.push_back(m / 2);
  std::vector<std::uint64_t> digests;
  for (std::uint32_t step = 0; step < kSteps; ++step) {
    const auto text = make_text(step);
    std::vector<std::int64_t> losses(kMembers);
    const NoiseSource source{.seed = 5, .epoch = step, .first_pair = 0};
    EXPECT_TRUE(backend
                    .evaluate({.noise = source,
                               .length = kLength,
                               .text = text,
                               .stream_of = stream_of,
                               .states = states.value().get()},
                              {.losses = losses, .logits = {}})
                    .ok());
    const auto fitness = fitness_of(shape, losses, 1);
    const auto result = backend.update({.noise = source,
                                        .fitness = fitness,
                                        .matrix = optimiser.at(step, fitness, noise.rank),
                                        .vector = optimiser.at(step, fitness, 1)});
    EXPECT_TRUE(result.ok());
    digests.push_back(result.value().digest);
  }
  return digests;
}

struct Golden {
  ModelConfig model;
  NoiseShape noise;
  FitnessShape shape;
  Optimiser optimiser;
  std::vector<std::uint64_t> digests;
};

Optimiser by(exact::Rule rule) {
  Optimiser optimiser;
  optimiser.rule = rule;
  optimiser.rate = {.start_q30 = 3ull << 30, .decay_q30 = 1 << 24};
  optimiser.forget_q14 = 1638;
  if (rule == exact::Rule::adamw) optimiser.decay_q30 = 1 << 24;
  return optimiser;
}

const Golden kGolden[] = {
    {.model = {.dim = 64, .layers = 2},
     .noise = {},
     .shape = FitnessShape::sign,
     .optimiser = {},
     .digests = {5816016550975880074u, 4126221469281627090u, 1175401778145285459u, 1295770734373011960u,
                 14609840149765815048u}},
    {.model = {.dim = 96, .layers = 1, .dialect = "egg.c", .activation = "relu"},
     .noise = {.rank = 3, .sigma_shift = 4},
     .shape = FitnessShape::scaled,
     .optimiser = {},
     .digests = {14605247658897824808u, 4567443987635601984u, 8621760100593211411u, 9459690623122199474u,
                 4588058728292383936u}},
    {.model = {.dim = 72, .layers = 1},
     .noise = {.rank = 2, .sigma_shift = 3},
     .shape = FitnessShape::scaled,
     .optimiser = by(exact::Rule::momentum),
     .digests = {16123158042802188860u, 9818343337086604379u, 3926964507589863668u, 389332847275425203u,
                 9562260530572018956u}},
    {.model = {.dim = 24, .layers = 2},
     .noise = {.rank = 1, .sigma_shift = 3},
     .shape = FitnessShape::scaled,
     .optimiser = by(exact::Rule::carry),
     .digests = {17168086243475449904u, 468823830604199814u, 1290403621149362077u, 8327169394678071324u,
                 627903062555861025u}},
    {.model = {.dim = 80, .layers = 1},
     .noise = {.rank = 1, .sigma_shift = 4},
     .shape = FitnessShape::sign,
     .optimiser = by(exact::Rule::adamw),
     .digests = {1102587700248197302u, 13484779845812541903u, 13774777939788673820u, 8611526849202524237u,
                 13741662193499061442u}},
};

TEST(Golden, StepsOnEveryBackend) {
  for (const Golden& golden : kGolden) {
    const auto program = build_program(golden.model, golden.noise);
    ASSERT_TRUE(program.ok()) << program.status().message();
    for (const BackendEntry& entry : list_backends()) {
      if (!entry.unavailable.empty() || entry.kind == BackendKind::kNull) continue;
      for (const int threads : {1, 3}) {
        auto backend = make_backend(entry.name, threads);
        ASSERT_TRUE(backend.ok());
        EXPECT_EQ(train(*backend.value(), program.value(), golden.noise, golden.shape, golden.optimiser),
                  golden.digests)
            << entry.name << " with " << threads << " threads";
      }
    }
  }
}

}  // namespace
}  // namespace clutch
