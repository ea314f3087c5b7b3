// The choice of tokens: each option by itself, frequencies against real probabilities, and known sequences.
#include "generate/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <vector>

namespace clutch {
namespace {

constexpr std::uint32_t kOne = 1 << 16;

std::vector<std::int8_t> some_logits(int count) {
  std::vector<std::int8_t> logits;
  for (int v = 0; v < count; ++v)
    logits.push_back(static_cast<std::int8_t>((v * v * 29 + v * 7) % 201 - 100));
  return logits;
}

std::set<int> tokens_seen(const std::vector<std::int8_t>& logits, const Sampling& sampling,
                          std::uint32_t positions = 400) {
  std::set<int> seen;
  for (std::uint32_t i = 0; i < positions; ++i) seen.insert(sample(logits, sampling, i));
  return seen;
}

// Of the second implementation, tests/second/clutch2.py.
TEST(Sampler, KnownSequences) {
  const std::vector<std::int8_t> logits = some_logits(40);
  const auto sequence = [&](const Sampling& sampling) {
    std::vector<int> tokens;
    for (std::uint32_t i = 0; i < 24; ++i) tokens.push_back(sample(logits, sampling, i));
    return tokens;
  };
  EXPECT_EQ(sequence({.seed = 99}), (std::vector<int>{34, 32, 35, 15, 5,  10, 35, 37, 24, 15, 11, 11,
                                                      35, 5,  5,  24, 35, 13, 35, 10, 10, 37, 34, 11}));
  EXPECT_EQ(
      sequence({.temperature_q16 = 98304, .top_k = 10, .top_p_q16 = 60000, .min_p_q16 = 3000, .seed = 5}),
      (std::vector<int>{13, 32, 13, 35, 34, 35, 35, 15, 35, 24, 34, 35,
                        35, 35, 30, 32, 34, 15, 34, 34, 34, 35, 30, 13}));
}

TEST(Sampler, TemperatureZeroTakesTheFirstOfTheLikeliest) {
  const std::vector<std::int8_t> logits = {3, 9, -5, 9, 9};
  for (std::uint32_t i = 0; i < 50; ++i) {
    EXPECT_EQ(sample(logits, {.temperature_q16 = 0, .seed = i}, i), 1);
    EXPECT_EQ(sample(logits, {.temperature_q16 = 0, .top_k = 2, .top_p_q16 = 1, .min_p_q16 = kOne}, i), 1);
  }
  const std::vector<std::int8_t> low(300, -127);
  EXPECT_EQ(sample(low, {.temperature_q16 = 0}, 7), 0);
}

TEST(Sampler, TopK) {
  const std::vector<std::int8_t> logits = {1, 5, 5, 4, 5, 0};
  using Set = std::set<int>;
  EXPECT_EQ(tokens_seen(logits, {.top_k = 1}), (Set{1}));
  EXPECT_EQ(tokens_seen(logits, {.top_k = 2}), (Set{1, 2})) << "of ties, the lower tokens";
  EXPECT_EQ(tokens_seen(logits, {.top_k = 4}), (Set{1, 2, 3, 4}));
  const Set all = {0, 1, 2, 3, 4, 5};
  for (const std::uint32_t k : {0u, 6u, 7u, ~0u}) EXPECT_EQ(tokens_seen(logits, {.top_k = k}), all) << k;
}

TEST(Sampler, TopP) {
  const std::vector<std::int8_t> logits = {0, 16, 32, 16};  // tokens 2, 1, 3, 0 have 4, 2, 2, 1 ninths
  using Set = std::set<int>;
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = 0}), (Set{2})) << "one at least";
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = 1}), (Set{2}));
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = kOne * 4 / 9}), (Set{2}));
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = kOne * 4 / 9 + 1}), (Set{1, 2}));
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = kOne * 6 / 9}), (Set{1, 2}));
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = kOne * 6 / 9 + 1}), (Set{1, 2, 3}));
  EXPECT_EQ(tokens_seen(logits, {.top_p_q16 = kOne}), (Set{0, 1, 2, 3}));
  EXPECT_EQ(tokens_seen({5, 5}, {.top_p_q16 = kOne / 2}), (Set{0})) << "half is reached exactly";
  EXPECT_EQ(tokens_seen({5, 5}, {.top_p_q16 = kOne / 2 + 1}), (Set{0, 1}));
  // Of those that top_k kept: 4 and 2 parts of 6.
  EXPECT_EQ(tokens_seen(logits, {.top_k = 2, .top_p_q16 = kOne * 4 / 6}), (Set{2}));
  EXPECT_EQ(tokens_seen(logits, {.top_k = 2, .top_p_q16 = kOne * 4 / 6 + 1}), (Set{1, 2}));
}

TEST(Sampler, MinP) {
  const std::vector<std::int8_t> logits = {0, 16, 32, 16, 32, -127};
  using Set = std::set<int>;
  EXPECT_EQ(tokens_seen(logits, {.min_p_q16 = kOne}), (Set{2, 4})) << "ties of the likeliest";
  EXPECT_EQ(tokens_seen(logits, {.min_p_q16 = kOne / 2 + 1}), (Set{2, 4}));
  EXPECT_EQ(tokens_seen(logits, {.min_p_q16 = kOne / 2}), (Set{1, 2, 3, 4}));
  EXPECT_EQ(tokens_seen(logits, {.min_p_q16 = kOne / 4}), (Set{0, 1, 2, 3, 4}));
}

// Position, seed and logits decide; nothing else is remembered.
TEST(Sampler, IsAFunctionOfItsArguments) {
  const std::vector<std::int8_t> flat(64, 5);
  std::map<std::uint64_t, std::vector<int>> texts;
  for (const std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32}) {
    for (const bool backwards : {false, true}) {
      std::vector<int> text(100);
      for (std::uint32_t i = 0; i < 100; ++i) {
        const std::uint32_t position = backwards ? 99 - i : i;
        text[position] = sample(flat, {.seed = seed}, position);
      }
      if (backwards) {
        EXPECT_EQ(text, texts[seed]);
      }
      texts[seed] = text;
    }
  }
  EXPECT_NE(texts[0], texts[1]);
  EXPECT_NE(texts[0], texts[1ULL << 32]);
}

// Over many positions each token comes as often as its real probability says: within 5 standard errors, which
// all of these 40 or so comparisons together exceed by chance with probability 2e-5. Seeds are fixed.
TEST(Sampler, FrequenciesAreProbabilities) {
  const struct {
    Sampling sampling;
    std::vector<std::int8_t> logits;
  } rows[] = {
      {{.seed = 1}, {0, 8, -16, 24, 24, 3, -127}},
      {{.temperature_q16 = kOne / 2, .seed = 2}, {0, 8, -16, 24, 24, 3, -127}},
      {{.temperature_q16 = 5 * kOne / 2, .seed = 3}, {0, 8, -16, 24, 24, 3, -127}},
      {{.temperature_q16 = 1000 * kOne, .seed = 4}, {-127, 127, 0, 5}},
      {{.seed = 5}, std::vector<std::int8_t>(16, -127)},
  };
  constexpr int kPositions = 40000;
  for (const auto& row : rows) {
    std::vector<int> counts(row.logits.size());
    for (std::uint32_t i = 0; i < kPositions; ++i) ++counts[sample(row.logits, row.sampling, i)];
    const double temperature = row.sampling.temperature_q16 / 65536.0;
    double total = 0;
    for (const int logit : row.logits) total += std::exp2(logit / 16.0 / temperature);
    for (std::size_t v = 0; v < counts.size(); ++v) {
      const double p = std::exp2(row.logits[v] / 16.0 / temperature) / total;
      EXPECT_LE(std::fabs(counts[v] - p * kPositions), 5 * std::sqrt(p * (1 - p) * kPositions) + 1)
          << "token " << v << " at temperature " << temperature;
    }
  }
}

// A random number that falls exactly on the border between two tokens (found by search: word 1 of the block
// is 0x80000006, so the target is 2^28 of 2^29) belongs to the second.
TEST(Sampler, BordersBelongToTheNextToken) {
  EXPECT_EQ(sample(std::vector<std::int8_t>{0, 0}, {}, 83439222), 1);
  EXPECT_EQ(sample(std::vector<std::int8_t>{0, 0}, {}, 360043229), 1);
}

// Temperatures so low that all but the likeliest vanish, and the largest vocabulary.
TEST(Sampler, Extremes) {
  EXPECT_EQ(tokens_seen({10, 11, 11, 10}, {.temperature_q16 = 1}), (std::set<int>{1, 2}));
  EXPECT_EQ(tokens_seen({-127, 127}, {.temperature_q16 = ~0u}), (std::set<int>{0, 1}));
  const std::vector<std::int8_t> large(65536, 127);
  const std::set<int> seen = tokens_seen(large, {.seed = 8}, 50);
  EXPECT_GT(seen.size(), 45u);
  EXPECT_GT(*seen.rbegin(), 50000);
  EXPECT_EQ(sample(std::vector<std::int8_t>{0}, {}, 0), 0);
}

}  // namespace
}  // namespace clutch
