// The integers of attention against long double: turns by every position, softmax weights, GELU, and
// rescaling.
#include "exact/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/arithmetic.h"

namespace clutch::exact {
namespace {

// Every entry of the table that is not kept but made; and no value so near to a tie that long double, off by
// less than 2^-50 here, could not tell.
TEST(Turns, AreTheNearestIntegersAtEveryPosition) {
  long double nearest_tie = 1;
  const auto check = [&](std::int32_t entry, long double value) {
    EXPECT_EQ(entry, std::floor(value + 0.5L));
    nearest_tie = std::min(nearest_tie, std::fabs(value - std::floor(value) - 0.5L));
  };
  for (std::int64_t i = 0; i < kTurnPairs; ++i) {
    const long double step = std::pow(10000.0L, -static_cast<long double>(i) / 32);
    for (std::int64_t p = 0; p < kMaxWindow; ++p) {
      const long double angle = static_cast<long double>(p) * step;
      check(turns_of(p)[i].cosine, 0x1p20L * std::cos(angle));
      check(turns_of(p)[i].sine, 0x1p20L * std::sin(angle));
    }
  }
  EXPECT_GT(nearest_tie, 0x1p-28L);
}

TEST(Turns, FractionsAreDroppedWithHalvesUp) {
  EXPECT_EQ(drop_turn_fraction(1 << 20), 1);
  EXPECT_EQ(drop_turn_fraction(1 << 19), 1);
  EXPECT_EQ(drop_turn_fraction((1 << 19) - 1), 0);
  EXPECT_EQ(drop_turn_fraction(-(1 << 19)), 0);
  EXPECT_EQ(drop_turn_fraction(-(1 << 19) - 1), -1);
}

TEST(Softmax, WeightsAreTheNearestIntegers) {
  EXPECT_EQ(softmax_weight(0), kSoftmaxOne);
  for (int d = 0; d < 256; ++d) {
    EXPECT_EQ(softmax_weight(d), std::llroundl(0x1p18L * std::exp(-d / 6.0L))) << d;
  }
  EXPECT_EQ(softmax_weight(79), 1u);
  EXPECT_EQ(softmax_weight(80), 0u);
  EXPECT_EQ(softmax_weight(256), 0u);
  EXPECT_EQ(softmax_weight(8064), 0u);  // the largest difference of scores
}

TEST(Gelu, IsTheNearestInteger) {
  for (int x = -127; x <= 127; ++x) {
    const long double real = x / 16.0L;
    const long double value = real * 0.5L * std::erfc(-real / std::sqrt(2.0L));
    EXPECT_EQ(gelu(static_cast<std::int8_t>(x)), std::llroundl(16 * value)) << x;
  }
}

// Every pair that a program can meet: sums of two slots are within 254.
TEST(Rescale, RoundsHalvesUpAndReachesTheEnds) {
  EXPECT_EQ(rescale(0, 0), 0);
  for (int largest = 1; largest <= 254; ++largest) {
    for (int x = -largest; x <= largest; ++x) {
      ASSERT_EQ(rescale(x, largest), std::floor(127.0L * x / largest + 0.5L)) << x << " of " << largest;
    }
    EXPECT_EQ(rescale(largest, largest), 127);
    EXPECT_EQ(rescale(-largest, largest), -127);
  }
  EXPECT_EQ(rescale(1, 254), 1);   // a half, up
  EXPECT_EQ(rescale(-1, 254), 0);  // up as well
}

}  // namespace
}  // namespace clutch::exact
