// Element counts at the edges of int64.
#include "base/tensor.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace clutch {
namespace {

std::optional<std::int64_t> count(const std::vector<std::int64_t>& shape) { return element_count(shape); }

TEST(ElementCount, MultipliesDimensions) {
  EXPECT_EQ(count({}), 1);
  EXPECT_EQ(count({7}), 7);
  EXPECT_EQ(count({2, 3, 4}), 24);
  EXPECT_EQ(count({5, 0, 3}), 0);
  EXPECT_EQ(count({INT64_MAX}), INT64_MAX);
  EXPECT_EQ(count({std::int64_t{1} << 31, std::int64_t{1} << 31}), std::int64_t{1} << 62);
}

TEST(ElementCount, RefusesNegativeDimensionsAndOverflow) {
  EXPECT_EQ(count({-1}), std::nullopt);
  EXPECT_EQ(count({-2, -3}), std::nullopt);
  EXPECT_EQ(count({0, -1}), std::nullopt);
  EXPECT_EQ(count({std::int64_t{1} << 32, std::int64_t{1} << 31}), std::nullopt);
  EXPECT_EQ(count({std::int64_t{1} << 62, 4, 0}), std::nullopt);
}

}  // namespace
}  // namespace clutch
