// The evaluation of a text against the definition, token by token on the reference backend.
#include "run/evaluate.h"

#include <gtest/gtest.h>

#include "backend/select.h"
#include "data/stories.h"
#include "exact/loss.h"
#include "models/model.h"

namespace clutch {
namespace {

Program program() { return build_program({.dim = 4, .layers = 2, .vocab = 256}, {}).value(); }

Corpus corpus(std::size_t tokens) {
  const std::string text = make_stories(tokens, 3);
  return make_corpus(std::vector<Token>(text.begin(), text.end()), 256);
}

// docs/NUMERICS.md, "Text": one call per token, losses from logits.
TextLoss by_hand(const Program& p, const Weights& weights, const Corpus& text, std::uint64_t streams,
                 std::uint64_t most) {
  auto backend = make_backend("reference", 1).value();
  EXPECT_TRUE(backend->load(p, {}, weights).ok());
  const std::uint64_t predicted = text.tokens.size() - 1;
  streams = std::min(streams, predicted);
  TextLoss total;
  for (std::uint64_t s = 0; s < streams; ++s) {
    const auto states = backend->new_states(1).value();
    const std::uint64_t start = predicted * s / streams;
    for (std::uint64_t i = 0; i < std::min(predicted / streams, most); ++i) {
      const Token pair[] = {text.tokens[start + i], text.tokens[start + i + 1]};
      const std::uint32_t stream = 0;
      std::int64_t loss = 0;
      std::vector<std::int8_t> logits(256);
      EXPECT_TRUE(
          backend
              ->evaluate(
                  {.noise = {}, .length = 1, .text = pair, .stream_of = {&stream, 1}, .states = states.get()},
                  {.losses = {&loss, 1}, .logits = logits})
              .ok());
      total.loss += exact::cross_entropy(logits.data(), 256, pair[1]);
      ++total.tokens;
    }
  }
  return total;
}

TEST(EvaluateText, IsAsDefined) {
  const Program p = program();
  const Weights weights = initial_weights(p, 1);
  const struct {
    std::size_t tokens;
    std::uint32_t streams;
    std::uint64_t most;
  } rows[] = {
      {2, 1, 100},     {2, 64, 100},  {65, 64, 1000}, {66, 64, 1000},     {500, 7, 1000}, {500, 7, 20},
      {500, 1, 1},     {300, 299, 9}, {300, 1000, 9}, {2600, 1, 1 << 20},  // in pieces of 1,024 tokens
      {2300, 2, 1100},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(std::to_string(row.tokens) + " tokens, " + std::to_string(row.streams) + " streams");
    const Corpus text = corpus(row.tokens);
    const TextLoss expected = by_hand(p, weights, text, row.streams, row.most);
    for (const char* name : {"reference", "cpu"}) {
      auto backend = make_backend(name, 2).value();
      ASSERT_TRUE(backend->load(p, {}, weights).ok());
      const auto loss = evaluate_text(*backend, text, row.streams, row.most);
      ASSERT_TRUE(loss.ok());
      EXPECT_EQ(loss.value().loss, expected.loss) << name;
      EXPECT_EQ(loss.value().tokens, expected.tokens) << name;
    }
  }
}

TEST(EvaluateText, BitsPerToken) {
  EXPECT_EQ(TextLoss().bits_per_token(), 0);
  EXPECT_EQ((TextLoss{3 << 20, 2}.bits_per_token()), 1.5);
}

TEST(EvaluateText, LeavesOtherStatesAlone) {
  const Program p = program();
  auto backend = make_backend("cpu", 1).value();
  ASSERT_TRUE(backend->load(p, {}, initial_weights(p, 1)).ok());
  const auto states = backend->new_states(4).value();
  std::vector<std::int8_t> before(4 * p.state_width(), 55), after(before.size());
  ASSERT_TRUE(states->write(before).ok());
  ASSERT_TRUE(evaluate_text(*backend, corpus(200), 4, 50).ok());
  ASSERT_TRUE(states->read(after).ok());
  EXPECT_EQ(before, after);
}

}  // namespace
}  // namespace clutch
