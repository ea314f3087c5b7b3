// Entropies against texts whose entropy is known.
#include "data/entropy.h"

#include <gtest/gtest.h>

#include <cmath>

namespace clutch {
namespace {

TEST(Entropy, OfNothingAndOfOneSymbolIsZero) {
  for (const std::vector<Token>& tokens : {std::vector<Token>{}, {7}, {7, 7, 7, 7}}) {
    const TextEntropy entropy = measure_entropy(tokens);
    EXPECT_EQ(entropy.unigram_bits, 0);
    EXPECT_EQ(entropy.bigram_bits, 0);
  }
}

TEST(Entropy, OfCountingIsAllInTheUnigrams) {
  std::vector<Token> tokens;
  for (int i = 0; i < 16 * 100; ++i) tokens.push_back(static_cast<Token>(i % 16 * 4000));
  const TextEntropy entropy = measure_entropy(tokens);
  EXPECT_NEAR(entropy.unigram_bits, 4, 1e-12);
  EXPECT_NEAR(entropy.bigram_bits, 0, 1e-12);
}

TEST(Entropy, OfASmallTextByHand) {
  // 0 0 1 0: tokens 3:1; the pairs 00, 01, 10 give H(next | 0) = 1 with weight 2/3 and H(next | 1) = 0.
  const std::vector<Token> tokens = {0, 0, 1, 0};
  const TextEntropy entropy = measure_entropy(tokens);
  EXPECT_NEAR(entropy.unigram_bits, 0.75 * std::log2(4.0 / 3.0) + 0.25 * 2, 1e-12);
  EXPECT_NEAR(entropy.bigram_bits, 2.0 / 3.0, 1e-12);
}

}  // namespace
}  // namespace clutch
