// What tells whether a core is ours alone.
#include "bench/neighbours.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace clutch::bench {
namespace {

TEST(Neighbours, AdditionsFitIntoCycles) {
  double most = 0;
  for (int i = 0; i < 200 && most <= 0.1; ++i) {  // another process may have the processor all the while of one
    const double rate = additions_per_cycle();
    EXPECT_LT(rate, 16);  // no processor issues as many
    most = std::max(most, rate);
  }
  EXPECT_GT(most, 0.1);  // slow builds included
}

TEST(Neighbours, TheMostIsUndisturbedAndHalfOfItIsNot) {
  std::vector<double> rates;
  for (int i = 0; i < 20; ++i) rates.push_back(additions_per_cycle());
  // Of this process, unless a test before had more.
  const double most = *std::max_element(rates.begin(), rates.end());
  EXPECT_EQ(undisturbed({most / 2, 100 * most, most / 100}), (std::vector<bool>{false, true, false}));
  EXPECT_TRUE(undisturbed({}).empty());
}

}  // namespace
}  // namespace clutch::bench
