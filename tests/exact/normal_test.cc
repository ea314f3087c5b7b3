// The quantile against a bisection of erfc in long double.
#include "exact/normal.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "exact/tables.h"

namespace clutch::exact {
namespace {

long double real_quantile(std::uint32_t alpha_q30) {
  const long double alpha = alpha_q30 * 0x1p-30L;
  long double low = 0, high = 8;
  for (int i = 0; i < 70; ++i) {
    const long double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0L)) > alpha ? low : high) = middle;
  }
  return low;
}

// Shares from the smallest with a quantile below 5 to 1: a geometric row, and both sides of every table
// entry.
std::vector<std::uint32_t> many_shares() {
  std::vector<std::uint32_t> list;
  for (std::uint64_t a = 616; a < 1u << 30; a += 1 + a / 512) list.push_back(static_cast<std::uint32_t>(a));
  for (const std::uint64_t entry : kTwoSidedTailTable) {
    const auto a = static_cast<std::uint32_t>(entry >> 2);
    if (a > 616 && a < 1u << 30) list.insert(list.end(), {a - 1, a, a + 1});
  }
  list.push_back(1u << 30);
  return list;
}

TEST(NormalQuantile, IsWithinItsBound) {
  for (const std::uint32_t alpha : many_shares()) {
    const long double error = normal_quantile_two_sided(alpha) * 0x1p-16L - real_quantile(alpha);
    ASSERT_LT(std::fabs(error), 0x1p-11L) << alpha;
  }
}

TEST(NormalQuantile, FallsWithTheShare) {
  for (const std::uint32_t alpha : many_shares()) {
    ASSERT_GE(normal_quantile_two_sided(alpha - 1), normal_quantile_two_sided(alpha)) << alpha;
  }
}

TEST(NormalQuantile, Ends) {
  EXPECT_EQ(normal_quantile_two_sided(1u << 30), 0u);
  for (const std::uint32_t alpha : {1u, 2u, 100u, 615u}) {  // below P(|N| > 5)
    EXPECT_EQ(normal_quantile_two_sided(alpha), 5u << 16) << alpha;
  }
  EXPECT_LT(normal_quantile_two_sided(616), 5u << 16);
}

// Of the second implementation, tests/second/clutch2.py.
TEST(NormalQuantile, KnownAnswers) {
  const std::uint32_t shares[] = {1, 616, 617, 1 << 20, 1 << 28, 1 << 29, (1 << 30) - 1};
  const std::uint32_t answers[] = {327680, 327671, 327651, 216086, 75392, 44205, 1};
  for (int i = 0; i < 7; ++i) EXPECT_EQ(normal_quantile_two_sided(shares[i]), answers[i]);
}

}  // namespace
}  // namespace clutch::exact
