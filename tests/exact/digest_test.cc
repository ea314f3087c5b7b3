// The digest of weights: what must change it, what must not, and known values.
#include "exact/digest.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

namespace clutch::exact {
namespace {

std::uint64_t digest_of(std::uint32_t tensor, const std::vector<std::int8_t>& weights) {
  return digest_tensor(tensor, weights.data(), weights.size());
}

std::vector<std::int8_t> some_weights(int count) {
  std::vector<std::int8_t> weights;
  for (int n = 0; n < count; ++n) weights.push_back(static_cast<std::int8_t>(n * 37 % 255 - 127));
  return weights;
}

TEST(Digest, MixIsSplitMix64) {
  // The first outputs of SplitMix64 with seed 0.
  EXPECT_EQ(mix64(0x9E3779B97F4A7C15), 0xE220A8397B1DCDAFu);
  EXPECT_EQ(mix64(2 * 0x9E3779B97F4A7C15), 0x6E789E6AA1B965F4u);
  EXPECT_EQ(mix64(3 * 0x9E3779B97F4A7C15), 0x06C45D188009454Fu);
}

// Computed in Python from the formula of docs/NUMERICS.md.
TEST(Digest, KnownAnswers) {
  EXPECT_EQ(digest_of(1, some_weights(19)), 0x5C7CF98587735013u);
  EXPECT_EQ(digest_of(0, some_weights(19)), 0x6BFF92BD138EB0D3u);
  EXPECT_EQ(digest_of(0, {}), 0u);
}

TEST(Digest, AnyOneWeightChangesIt) {
  for (const int count : {1, 7, 8, 9, 64, 100}) {
    const std::vector<std::int8_t> weights = some_weights(count);
    std::set<std::uint64_t> seen = {digest_of(3, weights)};
    for (int n = 0; n < count; ++n) {
      for (const int change : {1, -1}) {
        std::vector<std::int8_t> changed = weights;
        changed[n] = static_cast<std::int8_t>(changed[n] + change);
        EXPECT_TRUE(seen.insert(digest_of(3, changed)).second) << "weight " << n << " of " << count;
      }
    }
  }
}

TEST(Digest, PlaceMatters) {
  const std::vector<std::int8_t> one = some_weights(24);
  std::vector<std::int8_t> swapped_words = one, swapped_weights = one;
  std::swap_ranges(swapped_words.begin(), swapped_words.begin() + 8, swapped_words.begin() + 8);
  std::swap(swapped_weights[0], swapped_weights[1]);
  EXPECT_NE(digest_of(0, one), digest_of(0, swapped_words));
  EXPECT_NE(digest_of(0, one), digest_of(0, swapped_weights));
  const std::vector<std::int8_t> other = some_weights(25);
  EXPECT_NE(digest_of(0, one) + digest_of(1, other), digest_of(0, other) + digest_of(1, one));
}

TEST(Digest, LastWordIsFilledUpWithZeros) {
  std::vector<std::int8_t> weights = some_weights(13), padded = weights, longer = weights;
  padded.resize(16);
  longer.resize(17);
  EXPECT_EQ(digest_of(2, weights), digest_of(2, padded));
  EXPECT_NE(digest_of(2, weights), digest_of(2, longer));  // one word more, of zeros
}

TEST(Digest, IsTheSumOfItsTerms) {
  const std::vector<std::int8_t> weights = {1, -1, 2, -2, 127, -127, 0, 5, 9};
  const std::uint64_t first = 0x0500817FFE02FF01;
  EXPECT_EQ(digest_of(7, weights), digest_term(7, 0, first) + digest_term(7, 1, 9));
}

}  // namespace
}  // namespace clutch::exact
