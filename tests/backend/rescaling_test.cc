// The multiplications that rescale: every value within every largest magnitude.
#include "backend/cpu/rescaling.h"

#include <gtest/gtest.h>

#include "exact/arithmetic.h"

namespace clutch::cpu {
namespace {

constexpr Rescalings kRescalings;

TEST(Rescaling, EqualsTheExactOneForEveryPair) {
  for (int largest = 0; largest <= kMostRescaled; ++largest) {
    const Rescaling& r = kRescalings.of[largest];
    for (int x = -largest; x <= largest; ++x) {
      EXPECT_EQ((x * r.multiplier + r.rounding) >> r.shift, exact::rescale(x, largest))
          << x << " within " << largest;
    }
  }
}

TEST(Rescaling, FitsTheFactorsThatKernelsHave) {
  for (int largest = 0; largest <= kMostRescaled; ++largest) {
    const Rescaling& r = kRescalings.of[largest];
    const auto low = static_cast<std::int16_t>(r.halves), high = static_cast<std::int16_t>(r.halves >> 16);
    EXPECT_EQ(low + high, r.multiplier) << largest;
    EXPECT_LE(r.shift, 16) << largest;
    if (largest > kMostNarrow) continue;
    EXPECT_LE(r.multiplier, INT16_MAX) << largest;
    EXPECT_LE(r.shift, 15) << largest;
  }
}

}  // namespace
}  // namespace clutch::cpu
