// Every entry of the tables against long double; those of attention_test.cc are tested there.
#include "exact/tables.h"

#include <gtest/gtest.h>

#include <cmath>

namespace clutch::exact {
namespace {

TEST(Tables, Exp2IsTheNearestInteger) {
  ASSERT_EQ(std::size(kExp2Table), 17u);
  for (int j = 0; j <= 16; ++j) EXPECT_EQ(kExp2Table[j], std::llroundl(std::exp2(28 - j / 16.0L))) << j;
}

TEST(Tables, Log2IsTheNearestInteger) {
  ASSERT_EQ(std::size(kLog2Table), 257u);
  for (int i = 0; i <= 256; ++i) {
    EXPECT_EQ(kLog2Table[i], std::llroundl(0x1p24L * std::log2(1 + i / 256.0L))) << i;
  }
}

TEST(Tables, TwoSidedTailIsTheNearestInteger) {
  ASSERT_EQ(std::size(kTwoSidedTailTable), 321u);
  for (int i = 0; i <= 320; ++i) {
    EXPECT_EQ(kTwoSidedTailTable[i], std::llroundl(0x1p32L * std::erfc(i / 64.0L / std::sqrt(2.0L)))) << i;
  }
}

// A long double has 64 bits, so the seeds are known to a unit or so.
TEST(Tables, TurnSeedsAreNear) {
  ASSERT_EQ(std::size(kTurnTable), 32u);
  for (int i = 0; i < 32; ++i) {
    const long double step = std::pow(10000.0L, -i / 32.0L);
    EXPECT_LE(std::fabs(static_cast<long double>(kTurnTable[i][0]) - 0x1p62L * std::cos(step)), 2) << i;
    EXPECT_LE(std::fabs(static_cast<long double>(kTurnTable[i][1]) - 0x1p62L * std::sin(step)), 2) << i;
  }
}

TEST(Tables, RaisedCosineIsTheNearestInteger) {
  ASSERT_EQ(std::size(kRaisedCosineTable), 257u);
  for (int i = 0; i <= 256; ++i) {
    const long double real = 0x1p29L * (1 + std::cos(std::acos(-1.0L) * i / 256));
    EXPECT_EQ(kRaisedCosineTable[i], std::llroundl(real)) << i;
  }
}

}  // namespace
}  // namespace clutch::exact
