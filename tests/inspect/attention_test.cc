// How widely attention looks, by hand: weights that are known, and windows that end.
#include "inspect/attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backend/select.h"
#include "inspect/inspect.h"
#include "models/model.h"

namespace clutch {
namespace {

class AttentionTest : public ::testing::Test {
 protected:
  AttentionTest()
      : program_(build_program({.arch = "transformer", .dim = 128, .layers = 1, .window = 4}, {}).value()),
        watch_(program_) {
    while (program_.instructions[attend_].op != Op::attend) ++attend_;
  }

  // A token of which both heads have a query and a key with only their first element.
  void token(Token input, int query, int key) {
    for (std::uint32_t i = 0; i < program_.instructions.size(); ++i) {
      const Instruction& now = program_.instructions[i];
      std::vector<std::int8_t> values(static_cast<std::size_t>(program_.slots[now.dst].width), 99);
      const Instruction& attend = program_.instructions[attend_];
      if (now.dst == attend.in[0] || now.dst == attend.in[1]) {
        std::fill(values.begin(), values.end(), std::int8_t{0});
        values[0] = values[64] = static_cast<std::int8_t>(now.dst == attend.in[0] ? query : key);
      }
      watch_.see(input, i, values);
    }
  }
  HeadEntropy head(std::size_t h = 0) const { return watch_.heads(attend_).at(h); }

  const Program program_;
  AttentionWatch watch_;
  std::uint32_t attend_ = 0;
};

TEST_F(AttentionTest, AllAlikeIsTheMaximum) {
  for (int i = 0; i < 4; ++i) token(97, 127, 0);
  EXPECT_EQ(head().tokens, 3u) << "the first has no choice";
  EXPECT_NEAR(head().most, (1 + std::log2(3) + 2) / 3, 1e-12);
  EXPECT_NEAR(head().bits, head().most, 1e-12);
  EXPECT_NEAR(head(1).share(), 1, 1e-12);
  EXPECT_EQ(watch_.heads(attend_).size(), 2u);
  EXPECT_TRUE(watch_.heads(0).empty());
}

TEST_F(AttentionTest, OnePositionIsNone) {
  token(97, 0, 127);
  token(97, 127, -127);  // scores 63 and -64
  EXPECT_EQ(head().bits, 0);
  EXPECT_EQ(head().most, 1);
}

// A query of 16 and keys of 16 and 0 have scores of 1 and 0: weights 2^18 and round(2^18 exp(-1/6)) = 221900.
TEST_F(AttentionTest, KnownWeights) {
  token(97, 0, 16);
  token(97, 16, 0);
  const double p = 262144.0 / (262144 + 221900);
  EXPECT_NEAR(head().bits, -p * std::log2(p) - (1 - p) * std::log2(1 - p), 1e-12);
}

TEST_F(AttentionTest, WindowsAndDocumentsEnd) {
  for (int i = 0; i < 6; ++i) token(97, 127, 0);  // positions 0 to 3, 0 and 1
  EXPECT_EQ(head().tokens, 4u);
  EXPECT_NEAR(head().most, (1 + std::log2(3) + 2 + 1) / 4, 1e-12);
  token(0, 127, 0);  // a document's start
  EXPECT_EQ(head().tokens, 4u);
  token(97, 127, 0);
  EXPECT_NEAR(head().most * 5, 1 + std::log2(3) + 2 + 1 + 1, 1e-12);
  watch_.restart();
  token(97, 127, 0);
  EXPECT_EQ(head().tokens, 5u);
}

// Windows of text end and documents begin; every backend hands over the same queries and keys.
TEST_F(AttentionTest, OfATextOnEveryBackend) {
  std::vector<Token> tokens;
  for (int i = 0; i < 100; ++i) tokens.push_back(static_cast<Token>(i % 13 == 5 ? 0 : 97 + i * i % 11));
  const Corpus corpus = make_corpus(tokens, 256);
  const Weights weights = initial_weights(program_, 3);
  std::vector<HeadEntropy> expected;
  for (const char* name : {"reference", "cpu"}) {
    auto backend = make_backend(name, 1);
    ASSERT_TRUE(backend.value()->load(program_, {}, weights).ok());
    const auto reports = inspect_activations(*backend.value(), program_, corpus, 99);
    ASSERT_TRUE(reports.ok());
    const auto& heads = reports.value()[attend_].heads;
    ASSERT_EQ(heads.size(), 2u);
    for (std::size_t h = 0; h < 2; ++h) {
      EXPECT_GT(heads[h].bits, 0);
      EXPECT_LT(heads[h].bits, heads[h].most);
      EXPECT_LE(heads[h].most, 2) << "log2 of the window";
      if (!expected.empty()) {
        EXPECT_EQ(heads[h].bits, expected[h].bits);
      }
    }
    expected = heads;
  }
}

TEST_F(AttentionTest, WarningsNameTheHead) {
  Inspection inspection;
  inspection.instructions.push_back(
      {"%9 = attend", "mixed", {}, {{9, 0.01, 3}, {9, 2, 3}, {9, 2.99, 3}, {}}});
  const auto warnings = warnings_of(inspection);
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "mixed: head 0 looks at one position only (0.01 of at most 3.00 bits of entropy)");
  EXPECT_EQ(warnings[1], "mixed: head 2 looks at all positions alike (2.99 of at most 3.00 bits of entropy)");
}

}  // namespace
}  // namespace clutch
