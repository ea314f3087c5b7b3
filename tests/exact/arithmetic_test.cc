// The rounding operations against their definitions, the ends of their ranges included.
#include "exact/arithmetic.h"

#include <gtest/gtest.h>

#include <limits>
#include <vector>

namespace clutch::exact {
namespace {

__extension__ using Wide = __int128;
constexpr std::int64_t kLow = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kHigh = std::numeric_limits<std::int64_t>::max();

// Small numbers of both signs, and the ends of the range.
std::vector<std::int64_t> numbers() {
  std::vector<std::int64_t> list = {kLow,         kLow + 1,        kHigh - 1, kHigh,
                                    -(1LL << 31), (1LL << 31) - 1, 1LL << 62};
  for (std::int64_t x = -700; x <= 700; ++x) list.push_back(x);
  return list;
}

TEST(Arithmetic, DivisionsRoundAsNamed) {
  for (const std::int64_t divisor : {1, 2, 3, 7, 16, 127, 255, 256, 511, 1 << 20}) {
    for (const std::int64_t x : numbers()) {
      const Wide floor = divide_floor(x, divisor), truncated = divide_truncate(x, divisor);
      ASSERT_TRUE(floor * divisor <= x && x < (floor + 1) * divisor) << x << " // " << divisor;
      ASSERT_TRUE(truncated == (x < 0 && floor * divisor != x ? floor + 1 : floor)) << x << " / " << divisor;
      ASSERT_EQ(divide(x, divisor, Rounding::kFloor), divide_floor(x, divisor));
      ASSERT_EQ(divide(x, divisor, Rounding::kTruncate), divide_truncate(x, divisor));
    }
  }
  EXPECT_EQ(divide_floor(kLow, kHigh), -2);
  EXPECT_EQ(divide_floor(kHigh, kHigh), 1);
  EXPECT_EQ(divide_truncate(-kHigh, kHigh), -1);
}

TEST(Arithmetic, ShiftRoundsDown) {
  for (int shift = 0; shift < 63; ++shift) {
    for (const std::int64_t x : numbers()) {
      const Wide result = shift_floor(x, shift), unit = Wide{1} << shift;
      ASSERT_TRUE(result * unit <= x && x < (result + 1) * unit) << x << " >> " << shift;
    }
  }
}

TEST(Arithmetic, ClipAbsoluteAndSign) {
  for (const std::int64_t x : numbers()) {
    ASSERT_EQ(clip(x), x > 127 ? 127 : x < -127 ? -127 : x);
    ASSERT_EQ(sign(x), x > 0 ? 1 : x < 0 ? -1 : 0);
    if (x != kLow) {
      ASSERT_EQ(absolute(x), x > 0 ? x : -x);
    }
  }
}

TEST(Arithmetic, SquareRootIsTheLargestWhoseSquareFits) {
  std::vector<std::uint64_t> list = {std::numeric_limits<std::uint64_t>::max()};
  for (std::uint64_t x = 0; x < 70000; ++x) list.push_back(x);
  for (std::uint64_t root = 1; root < 1ULL << 32; root = root * 3 / 2 + 1) {
    for (const std::uint64_t near : {root * root - 1, root * root, root * root + 2 * root})
      list.push_back(near);
  }
  const std::uint64_t last = (1ULL << 32) - 1;
  list.insert(list.end(), {last * last - 1, last * last});
  for (const std::uint64_t x : list) {
    const auto root = static_cast<unsigned __int128>(square_root_floor(x));
    ASSERT_TRUE(root * root <= x && x < (root + 1) * (root + 1)) << x;
  }
}

TEST(Arithmetic, Log2FloorAtPowers) {
  for (int power = 0; power < 64; ++power) {
    const std::uint64_t x = 1ULL << power;
    EXPECT_EQ(log2_floor(x), power);
    EXPECT_EQ(log2_floor(x + (x - 1)), power);  // 2^(power+1) - 1
  }
}

}  // namespace
}  // namespace clutch::exact
