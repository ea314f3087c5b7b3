// Exponentials, logarithms and cross-entropies against real arithmetic in long double, within the bounds that
// loss.h and docs/NUMERICS.md promise.
#include "exact/loss.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

namespace clutch::exact {
namespace {

TEST(Exp2, TruncatesTheRealValue) {
  for (std::uint32_t d = 0; d <= 254; ++d) {
    const long double error = exp2_negative(d) - std::exp2(28 - d / 16.0L);
    EXPECT_LE(error, 0.5L) << d;  // an entry rounds up by at most half a unit
    EXPECT_GT(error, -1.0L) << d;
  }
  EXPECT_EQ(exp2_negative(0), 1u << 28);
  EXPECT_EQ(exp2_negative(16), 1u << 27);
}

TEST(Exp2, FineGrainedEqualsCoarseAtMultiples) {
  for (std::uint32_t d = 0; d <= 254; ++d) EXPECT_EQ(exp2_negative_q16(d << 12), exp2_negative(d)) << d;
}

TEST(Exp2, FineGrainedFallsAndIsNearTheRealValue) {
  std::uint32_t before = exp2_negative_q16(0);
  for (std::uint32_t x = 0; x < 40u << 16; x += 37) {
    const std::uint32_t value = exp2_negative_q16(x);
    ASSERT_LE(value, before) << x;
    // Linear interpolation over 1/16 is off by at most (ln 2 / 16)^2 / 8 of the value.
    const long double real = std::exp2(28 - x / 65536.0L);
    ASSERT_LT(std::fabs(value - real), real * 2.4e-4L + 2) << x;
    before = value;
  }
  for (const std::uint32_t x : {(28u << 16) + 1, 31u << 16, 32u << 16, 0x7FFFFFFFu, 0xFFFFFFFFu}) {
    EXPECT_EQ(exp2_negative_q16(x), 0u) << x;
  }
}

TEST(Log2, IsWithinItsBoundEverywhere) {
  std::vector<std::uint64_t> list;
  for (std::uint64_t x = 1; x < 1 << 17; ++x) list.push_back(x);
  for (int power = 0; power < 64; ++power) {  // the table's cells at every power, their ends and middles
    for (std::uint64_t eighth = 0; eighth < 256 * 8; ++eighth) {
      const std::uint64_t mantissa = (1ULL << 63) + (eighth << 52);
      for (const std::uint64_t m : {mantissa, mantissa + 1, mantissa - (eighth > 0)})
        list.push_back(m >> power);
    }
  }
  list.push_back(~0ULL);
  for (const std::uint64_t x : list) {
    const long double error = log2_q24(x) - 0x1p24L * std::log2(static_cast<long double>(x));
    ASSERT_LT(std::fabs(error), 0x1p6L) << x;  // 2^-18
  }
  for (int power = 0; power < 64; ++power) EXPECT_EQ(log2_q24(1ULL << power), std::uint32_t(power) << 24);
}

TEST(Log2, NeverFalls) {
  for (std::uint64_t start :
       {1ULL << 20, (1ULL << 28) - 5000, (1ULL << 28) + 1048576 - 5000, (1ULL << 44) - 5000}) {
    for (std::uint64_t x = start; x < start + 10000; ++x) ASSERT_LE(log2_q24(x), log2_q24(x + 1)) << x;
  }
}

// Known answers here and below are those of the second implementation, tests/second/clutch2.py.
TEST(Log2, KnownAnswers) {
  const std::uint64_t numbers[] = {1, 3, 10, (1 << 28) + 1, 1ULL << 44, 12345678901234567890u, ~0ULL};
  const std::uint32_t answers[] = {0, 26591258, 55732705, 469762048, 738197504, 1064021752, 1073741823};
  for (int i = 0; i < 7; ++i) EXPECT_EQ(log2_q24(numbers[i]), answers[i]);
}

long double real_cross_entropy(const std::vector<std::int8_t>& logits, std::size_t target) {
  long double sum = 0;
  for (const std::int8_t logit : logits) sum += std::exp2((logit - logits[target]) / 16.0L);
  return std::log2(sum);
}

// The loss, checked.
std::int64_t expect_near(const std::vector<std::int8_t>& logits, std::size_t target) {
  const auto vocab = static_cast<std::int64_t>(logits.size());
  const std::int64_t loss = cross_entropy(logits.data(), vocab, static_cast<std::int64_t>(target));
  EXPECT_GE(loss, 0);
  EXPECT_LT(loss, 1 << 25);
  const long double bound = 0x1p-17L + static_cast<long double>(vocab) * 1.5L * 0x1p-28L;
  EXPECT_LT(std::fabs(loss * 0x1p-20L - real_cross_entropy(logits, target)), bound)
      << "vocab " << vocab << " target " << target;
  return loss;
}

TEST(CrossEntropy, IsWithinItsBoundOnRandomLogits) {
  std::mt19937_64 random(1);
  for (const std::size_t vocab : {2, 3, 16, 255, 256, 257, 1000, 65536}) {
    for (const int spread : {0, 1, 5, 30, 127}) {
      for (int round = 0; round < (vocab > 1000 ? 2 : 20); ++round) {
        std::vector<std::int8_t> logits(vocab);
        for (auto& l : logits)
          l = static_cast<std::int8_t>(static_cast<int>(random() % (2 * spread + 1)) - spread);
        expect_near(logits, random() % vocab);
      }
    }
  }
}

// One token above all others, at every distance: where the truncation of small terms adds up the most.
TEST(CrossEntropy, IsWithinItsBoundAtExtremes) {
  for (const std::size_t vocab : {2, 300, 65536}) {
    for (int distance = 0; distance <= 254; ++distance) {
      std::vector<std::int8_t> logits(vocab, static_cast<std::int8_t>(127 - distance));
      logits[vocab / 2] = 127;
      const std::int64_t likely = expect_near(logits, vocab / 2), unlikely = expect_near(logits, 0);
      EXPECT_EQ(unlikely - likely, distance << 16);  // sixteenths of a bit
    }
  }
}

TEST(CrossEntropy, KnownAnswers) {
  const struct {
    std::vector<std::int8_t> logits;
    int target;
    std::int64_t loss;
  } rows[] = {{{0, 0}, 0, 1048576},
              {{7, 7, 7}, 0, 1661954},  // log2(3) · 2^20 = 1661953.6 rounds to the nearest
              {{127, -127}, 0, 25},
              {{127, -127}, 1, 16646169},
              {{5, -3, 100, 99, 12}, 4, 6821447},
              {{-127, -127, -127, -127, -127, -127, -127}, 3, 2943725}};
  for (const auto& row : rows) {
    EXPECT_EQ(cross_entropy(row.logits.data(), static_cast<std::int64_t>(row.logits.size()), row.target),
              row.loss);
  }
}

TEST(CrossEntropy, OfUniformLogitsIsLog2OfTheVocabulary) {
  for (int power = 1; power <= 16; ++power) {
    for (const int level : {-127, 0, 127}) {
      const std::vector<std::int8_t> logits(std::size_t{1} << power, static_cast<std::int8_t>(level));
      EXPECT_EQ(cross_entropy(logits.data(), 1 << power, 1), std::int64_t{power} << 20);
    }
  }
}

}  // namespace
}  // namespace clutch::exact
