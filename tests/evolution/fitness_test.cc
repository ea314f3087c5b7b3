// Fitness shapes against their definition in 128 bits.
#include "evolution/fitness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace clutch {
namespace {

constexpr FitnessShape kAll[] = {FitnessShape::sign, FitnessShape::scaled, FitnessShape::clipped,
                                 FitnessShape::strong};

__extension__ using Wide = __int128;

// docs/NUMERICS.md, "A step", 2., with sums that cannot overflow.
std::vector<std::int8_t> by_definition(FitnessShape shape, const std::vector<std::int64_t>& losses) {
  std::vector<Wide> differences;
  Wide sum = 0;
  for (std::size_t m = 0; m < losses.size(); m += 2) {
    differences.push_back(Wide{losses[m + 1]} - losses[m]);
    sum += differences.back() < 0 ? -differences.back() : differences.back();
  }
  const Wide mean = std::max<Wide>(1, sum / static_cast<Wide>(differences.size()));
  std::vector<std::int8_t> fitness;
  for (const Wide d : differences) {
    const int sign = d > 0 ? 1 : d < 0 ? -1 : 0;
    const Wide scaled = 32 * (d < 0 ? -d : d) / mean;
    Wide size = 1;
    if (shape == FitnessShape::scaled) size = std::min<Wide>(127, scaled);
    if (shape == FitnessShape::clipped) size = std::min<Wide>(32, scaled);
    if (shape == FitnessShape::strong) size = scaled >= 16 ? 1 : 0;
    fitness.push_back(static_cast<std::int8_t>(sign * static_cast<int>(size)));
  }
  return fitness;
}

// Losses of many scales: all alike, close together, one far off, up to 2^57 - 1.
std::vector<std::vector<std::int64_t>> many_losses() {
  constexpr std::int64_t kMost = (std::int64_t{1} << 57) - 1;
  std::vector<std::vector<std::int64_t>> all = {
      {0, 0},
      {1, 0},
      {0, 1},
      {0, kMost},
      {kMost, 0},
      {5, 5, 7, 7},
      {0, 1, 0, 0, 0, 0},
      {10, 30, 50, 50, 1000, 0, 7, 8},
  };
  std::mt19937_64 random(5);
  for (int pairs = 1; pairs <= 1000; pairs = pairs * 2 + 1) {
    for (const int bits : {1, 4, 20, 40, 56, 57}) {
      for (const bool outlier : {false, true}) {
        std::vector<std::int64_t> losses(2 * pairs);
        for (auto& loss : losses) loss = static_cast<std::int64_t>(random() >> (64 - bits));
        if (outlier) losses[random() % losses.size()] = kMost;
        all.push_back(losses);
      }
    }
    std::vector<std::int64_t> extreme;
    for (int p = 0; p < pairs; ++p) extreme.insert(extreme.end(), {0, kMost});
    all.push_back(extreme);
  }
  return all;
}

TEST(Fitness, IsAsDefined) {
  for (const auto& losses : many_losses()) {
    for (const FitnessShape shape : kAll) {
      ASSERT_EQ(fitness_of(shape, losses), by_definition(shape, losses)) << losses.size() << " " << losses[0];
    }
  }
}

TEST(Fitness, SwappingMembersOfPairsFlipsIt) {
  for (const auto& losses : many_losses()) {
    auto swapped = losses;
    for (std::size_t m = 0; m < losses.size(); m += 2) std::swap(swapped[m], swapped[m + 1]);
    for (const FitnessShape shape : kAll) {
      auto expected = fitness_of(shape, losses);
      for (auto& f : expected) {
        EXPECT_LE(std::abs(f), max_fitness(shape));
        f = static_cast<std::int8_t>(-f);
      }
      ASSERT_EQ(fitness_of(shape, swapped), expected);
    }
  }
}

// Positive where the plus member, the first of a pair, lost less. Second implementation's answers.
TEST(Fitness, KnownAnswers) {
  const std::vector<std::int64_t> losses = {10, 30, 50, 50, 1000, 0, 7, 8};
  EXPECT_EQ(fitness_of(FitnessShape::sign, losses), (std::vector<std::int8_t>{1, 0, -1, 1}));
  EXPECT_EQ(fitness_of(FitnessShape::scaled, losses), (std::vector<std::int8_t>{2, 0, -125, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::scaled, std::vector<std::int64_t>{0, 9, 9, 9, 9, 9, 9, 9, 9, 9}),
            (std::vector<std::int8_t>{127, 0, 0, 0, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::clipped, losses), (std::vector<std::int8_t>{2, 0, -32, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::strong, losses), (std::vector<std::int8_t>{0, 0, -1, 0}));
}

TEST(Fitness, NamesAndLargestMagnitudes) {
  EXPECT_EQ(fitness_shape_names(), (std::vector<std::string_view>{"sign", "scaled", "clipped", "strong"}));
  for (const std::string_view text : fitness_shape_names()) EXPECT_EQ(name(*fitness_shape(text)), text);
  EXPECT_FALSE(fitness_shape("Sign").has_value());
  EXPECT_FALSE(fitness_shape("").has_value());
  EXPECT_EQ(max_fitness(FitnessShape::sign), 1);
  EXPECT_EQ(max_fitness(FitnessShape::scaled), 127);
}

TEST(Fitness, WantsPairs) {
  EXPECT_DEATH(fitness_of(FitnessShape::sign, std::vector<std::int64_t>(3)), "losses come in pairs");
}

}  // namespace
}  // namespace clutch
