// Element counts at the edges of int64, and the digest's definition.
#include "base/tensor.h"

#include <gtest/gtest.h>
#include <xxhash.h>

#include <cstdint>
#include <string>
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

TEST(DigestTensors, IsXxh3OfNamesShapesAndData) {
  const std::vector<Tensor> tensors = {
      {.name = "ab", .shape = {2, 258}, .data = std::vector<std::int8_t>(516, 5)},
      {.name = "", .shape = {}, .data = {-1}}};
  std::string bytes;
  bytes += std::string("ab\0", 3);
  bytes += std::string("\2\0\0\0\0\0\0\0", 8) + std::string("\2\1\0\0\0\0\0\0", 8);
  bytes += std::string(516, '\5');
  bytes += std::string("\0\xff", 2);
  EXPECT_EQ(digest_tensors(tensors), XXH3_64bits(bytes.data(), bytes.size()));
}

TEST(DigestTensors, KeepsItsValues) {
  EXPECT_EQ(digest_tensors({}), 0x2d06800538d394c2u);
  const std::vector<Tensor> one = {{.name = "w", .shape = {3}, .data = {1, -2, 3}}};
  EXPECT_EQ(digest_tensors(one), 0x71e957268e06c567u);
}

TEST(DigestTensors, SeesNamesShapesDataAndOrder) {
  const Tensor base = {.name = "w", .shape = {2, 3}, .data = {1, 2, 3, 4, 5, 6}};
  Tensor renamed = base, reshaped = base, changed = base;
  renamed.name = "v";
  reshaped.shape = {3, 2};
  changed.data[5] = 7;
  const auto digest = [](const std::vector<Tensor>& tensors) { return digest_tensors(tensors); };
  EXPECT_NE(digest({base}), digest({renamed}));
  EXPECT_NE(digest({base}), digest({reshaped}));
  EXPECT_NE(digest({base}), digest({changed}));
  EXPECT_NE(digest({base, renamed}), digest({renamed, base}));
}

}  // namespace
}  // namespace clutch
