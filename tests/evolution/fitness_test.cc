// Fitness shapes against their definition in 128 bits.
#include "evolution/fitness.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace clutch {
namespace {

constexpr FitnessShape kAll[] = {FitnessShape::sign, FitnessShape::scaled, FitnessShape::clipped,
                                 FitnessShape::strong, FitnessShape::grouped};

__extension__ using Wide = __int128;

// docs/NUMERICS.md, "A step", 2., with sums that cannot overflow.
std::vector<std::int8_t> by_definition(FitnessShape shape, const std::vector<std::int64_t>& losses,
                                       std::size_t group_pairs) {
  if (shape == FitnessShape::grouped) {
    std::vector<std::int8_t> all;
    for (std::size_t m = 0; m < losses.size(); m += 2 * group_pairs) {
      const auto first = losses.begin() + static_cast<std::ptrdiff_t>(m);
      const auto group = by_definition(
          FitnessShape::scaled, {first, first + static_cast<std::ptrdiff_t>(2 * group_pairs)}, group_pairs);
      all.insert(all.end(), group.begin(), group.end());
    }
    return all;
  }
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
      for (const std::uint32_t group : {1u, 3u, 5u, 7u}) {
        if (losses.size() % (2 * group) != 0) continue;
        ASSERT_EQ(fitness_of(shape, losses, group), by_definition(shape, losses, group))
            << name(shape) << " of groups of " << group << ": " << losses.size() << " " << losses[0];
      }
    }
  }
}

// What all members of a group have in common, as the mean of the group's losses, cancels; how far apart a
// group's members are does not count, either.
TEST(Fitness, GroupsAreCentredAndScaledByThemselves) {
  std::mt19937_64 random(6);
  std::vector<std::int64_t> losses, moved;
  for (int group = 0; group < 20; ++group) {
    const auto common = static_cast<std::int64_t>(random() >> 8), scale = std::int64_t{1} << group;
    for (int m = 0; m < 10; ++m) {
      const auto loss = static_cast<std::int64_t>(random() >> 44);
      losses.push_back(loss);
      moved.push_back(common + loss * scale);
    }
  }
  const auto differ = [](int a, int b) { return std::abs(a - b); };
  const auto one = fitness_of(FitnessShape::grouped, losses, 5),
             other = fitness_of(FitnessShape::grouped, moved, 5);
  ASSERT_EQ(one.size(), other.size());
  for (std::size_t p = 0; p < one.size(); ++p) EXPECT_LE(differ(one[p], other[p]), 1) << "rounding of a mean";
  EXPECT_NE(fitness_of(FitnessShape::scaled, losses, 5), fitness_of(FitnessShape::scaled, moved, 5));
  EXPECT_EQ(fitness_of(FitnessShape::grouped, losses, 100), fitness_of(FitnessShape::scaled, losses, 5));
}

TEST(Fitness, SwappingMembersOfPairsFlipsIt) {
  for (const auto& losses : many_losses()) {
    auto swapped = losses;
    for (std::size_t m = 0; m < losses.size(); m += 2) std::swap(swapped[m], swapped[m + 1]);
    for (const FitnessShape shape : kAll) {
      auto expected = fitness_of(shape, losses, 1);
      for (auto& f : expected) {
        EXPECT_LE(std::abs(f), max_fitness(shape));
        f = static_cast<std::int8_t>(-f);
      }
      ASSERT_EQ(fitness_of(shape, swapped, 1), expected);
    }
  }
}

// Positive where the plus member, the first of a pair, lost less. Second implementation's answers.
TEST(Fitness, KnownAnswers) {
  const std::vector<std::int64_t> losses = {10, 30, 50, 50, 1000, 0, 7, 8};
  EXPECT_EQ(fitness_of(FitnessShape::sign, losses, 1), (std::vector<std::int8_t>{1, 0, -1, 1}));
  EXPECT_EQ(fitness_of(FitnessShape::scaled, losses, 1), (std::vector<std::int8_t>{2, 0, -125, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::scaled, std::vector<std::int64_t>{0, 9, 9, 9, 9, 9, 9, 9, 9, 9}, 1),
            (std::vector<std::int8_t>{127, 0, 0, 0, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::clipped, losses, 1), (std::vector<std::int8_t>{2, 0, -32, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::strong, losses, 1), (std::vector<std::int8_t>{0, 0, -1, 0}));
  EXPECT_EQ(fitness_of(FitnessShape::grouped, losses, 2), (std::vector<std::int8_t>{64, 0, -64, 0}));
}

TEST(Fitness, NamesAndLargestMagnitudes) {
  EXPECT_EQ(fitness_shape_names(),
            (std::vector<std::string_view>{"sign", "scaled", "clipped", "strong", "grouped"}));
  for (const std::string_view text : fitness_shape_names()) EXPECT_EQ(name(*fitness_shape(text)), text);
  EXPECT_FALSE(fitness_shape("Sign").has_value());
  EXPECT_FALSE(fitness_shape("").has_value());
  EXPECT_EQ(max_fitness(FitnessShape::sign), 1);
  EXPECT_EQ(max_fitness(FitnessShape::scaled), 127);
}

TEST(Comparable, OfOneTextAreTheLossesThemselves) {
  const std::vector<std::int64_t> losses = {5, 7, 1, 9};
  EXPECT_EQ(comparable(losses, {.size = 4, .group_size = 4, .noise = {}}), losses);
}

TEST(Comparable, OfTwoTextsAreMeasuredFromTheMeanOfTheirText) {
  // Plus members read 5, 1, 3 (mean 3); minus members 7, 9, 9 (mean 8 and a third).
  const std::vector<std::int64_t> losses = {5, 7, 1, 9, 3, 9};
  const Population population{.size = 6, .group_size = 3, .texts_per_pair = 2, .noise = {}};
  EXPECT_EQ(comparable(losses, population), (std::vector<std::int64_t>{2, -1, -2, 1, 0, 1}));
}

TEST(Comparable, IsItsDefinitionAndForgetsHowHardATextIs) {
  for (const auto& losses : many_losses()) {
    for (std::uint32_t group : {2u, 3u, 5u}) {
      const Population population{.size = static_cast<std::uint32_t>(losses.size()),
                                  .group_size = group,
                                  .texts_per_pair = 2,
                                  .noise = {}};
      if (population.size / 2 % group != 0) continue;
      std::vector<std::int64_t> expected, harder;
      for (std::uint32_t m = 0; m < population.size; ++m) {
        Wide sum = 0;
        for (std::uint32_t other = 0; other < population.size; ++other)
          if (population.stream_of(other) == population.stream_of(m)) sum += losses[other];
        expected.push_back(static_cast<std::int64_t>(losses[m] - sum / static_cast<Wide>(group)));
        harder.push_back(losses[m] / 2 + 1000 * population.stream_of(m));
      }
      EXPECT_EQ(comparable(losses, population), expected);
      std::vector<std::int64_t> halves;
      for (const std::int64_t loss : losses) halves.push_back(loss / 2);
      EXPECT_EQ(comparable(harder, population), comparable(halves, population));
    }
  }
}

TEST(Fitness, WantsPairs) {
  EXPECT_DEATH(comparable(std::vector<std::int64_t>(3), {.size = 4, .noise = {}}), "of the whole population");
  EXPECT_DEATH(fitness_of(FitnessShape::sign, std::vector<std::int64_t>(3), 1), "losses come in pairs");
  EXPECT_DEATH(fitness_of(FitnessShape::grouped, std::vector<std::int64_t>(6), 2), "groups are whole");
}

}  // namespace
}  // namespace clutch
