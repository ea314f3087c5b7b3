// Who evaluates what, and which populations are refused.
#include "evolution/population.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

namespace clutch {
namespace {

TEST(Population, PairsStreamsAndMembers) {
  const Population p{.size = 24, .group_size = 6, .noise = {}};
  EXPECT_EQ(p.pairs(), 12u);
  EXPECT_EQ(p.streams(), 4u);
  std::map<std::uint32_t, int> readers;
  for (std::uint32_t m = 0; m < p.size; ++m) {
    EXPECT_EQ(p.stream_of(m), m / 6);
    EXPECT_EQ(p.stream_of(m), p.stream_of(m ^ 1)) << "a pair reads one stream";
    ++readers[p.stream_of(m)];
  }
  EXPECT_EQ(readers, (std::map<std::uint32_t, int>{{0, 6}, {1, 6}, {2, 6}, {3, 6}}));
}

TEST(Population, PairsOfTwoTexts) {
  const Population p{.size = 24, .group_size = 3, .texts_per_pair = 2, .noise = {}};
  EXPECT_EQ(p.streams(), 8u);
  EXPECT_EQ(p.group_pairs(), 3u);
  std::map<std::uint32_t, std::vector<std::uint32_t>> readers;
  for (std::uint32_t m = 0; m < p.size; ++m) readers[p.stream_of(m)].push_back(m);
  EXPECT_EQ(readers.size(), 8u);
  EXPECT_EQ(readers[0], (std::vector<std::uint32_t>{0, 2, 4}));
  EXPECT_EQ(readers[1], (std::vector<std::uint32_t>{1, 3, 5}));
  EXPECT_EQ(readers[2], (std::vector<std::uint32_t>{6, 8, 10}));
  EXPECT_EQ(readers[7], (std::vector<std::uint32_t>{19, 21, 23}));
}

TEST(Population, EpochsFollowNoiseReuse) {
  const auto epoch = [](std::uint32_t reuse, std::uint64_t step) {
    return Population{.noise_reuse = reuse, .noise = {}}.epoch(step);
  };
  for (std::uint64_t step : {0ULL, 1ULL, 5ULL, 1ULL << 31}) {
    EXPECT_EQ(epoch(0, step), 0u);
    EXPECT_EQ(epoch(1, step), step);
    EXPECT_EQ(epoch(3, step), step / 3);
  }
}

TEST(VerifyPopulation, AcceptsOrNamesTheFlag) {
  const struct {
    std::uint32_t size, group_size;
    int rank, max_fitness;
    const char* answer;
    std::uint32_t texts = 1;
  } rows[] = {
      {2, 2, 1, 1, "ok"},
      {24, 2, 1, 1, "ok"},
      {24, 24, 1, 127, "ok"},
      {24, 8, 64, 127, "ok"},
      {0, 2, 1, 1, "--population: 0 is not an even number in 2..16777216"},
      {1, 2, 1, 1, "--population: 1 is not an even number in 2..16777216"},
      {7, 2, 1, 1, "--population: 7 is not an even number in 2..16777216"},
      {kMaxPopulation + 2, 2, 1, 1, "--population: 16777218 is not an even number in 2..16777216"},
      {24, 0, 1, 1, "--group-size: 0 is not even or does not divide the population of 24"},
      {24, 1, 1, 1, "--group-size: 1 is not even"},
      {24, 3, 1, 1, "--group-size: 3 is not even"},
      {24, 10, 1, 1, "--group-size: 10 is not even or does not divide the population of 24"},
      {24, 48, 1, 1, "--group-size: 48 is not even"},
      {24, 3, 1, 1, "ok", 2},
      {24, 12, 1, 1, "ok", 2},
      {24, 24, 1, 1, "--group-size: 24 is below 2 or does not divide half the population of 24", 2},
      {24, 8, 1, 1, "--group-size: 8 is below 2 or does not divide half the population of 24", 2},
      {24, 1, 1, 1, "--group-size: 1 is below 2", 2},
      {24, 0, 1, 1, "--group-size: 0 is below 2", 2},
      {24, 2, 1, 1, "--texts-per-pair: 0 is neither 1 nor 2", 0},
      {24, 2, 1, 1, "--texts-per-pair: 3 is neither 1 nor 2", 3},
      // pairs · rank · 47² · max fitness against 2^31 - 1: the last that fits and the first that does not.
      {2 * 972151, 2, 1, 1, "ok"},
      {2 * 972152, 2, 1, 1,
       "--population: 1944304 members of rank 1 could sum a vote of 2147483768, over 2^31 - 1"},
      {2 * 7654, 2, 1, 127, "ok"},
      {2 * 7655, 2, 1, 127, "--population: 15310 members of rank 1 could sum a vote of 2147556665"},
      {2 * 119, 2, 64, 127, "ok"},
      {2 * 120, 2, 64, 127, "--population: 240 members of rank 64 could sum a vote of 2154570240"},
      {kMaxPopulation, 2, 64, 127, "--population: 16777216 members of rank 64"},
  };
  for (const auto& row : rows) {
    const Population p{.size = row.size,
                       .group_size = row.group_size,
                       .texts_per_pair = row.texts,
                       .noise = {.rank = row.rank}};
    const std::string message = verify_population(p, row.max_fitness).message();
    EXPECT_EQ(message.substr(0, std::string(row.answer).size()), row.answer);
  }
}

}  // namespace
}  // namespace clutch
