// Windows of streams, against the definition computed with 128 bits.
#include "data/streams.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace clutch {
namespace {

Corpus numbered_corpus(std::uint32_t tokens) {
  std::vector<Token> numbers(tokens);
  for (std::uint32_t i = 0; i < tokens; ++i) numbers[i] = static_cast<Token>(i);
  return make_corpus(std::move(numbers), kMaxVocab);
}

std::vector<Token> read(const Corpus& corpus, const Window& window) {
  std::vector<Token> out(window.tokens + 1);
  read_window(corpus, window, out.data());
  return out;
}

TEST(Streams, ReadsAKnownWindow) {
  const Corpus corpus = numbered_corpus(10);
  const Window window = {.stream = 1, .streams = 3, .step = 2, .tokens = 2};  // starts at floor(10/3) + 2*2
  EXPECT_EQ(read(corpus, window), (std::vector<Token>{7, 8, 9}));
}

TEST(Streams, WrapsRoundTheCorpus) {
  const Corpus corpus = numbered_corpus(5);
  EXPECT_EQ(read(corpus, {.step = 1, .tokens = 4}), (std::vector<Token>{4, 0, 1, 2, 3}));
  // A window longer than the corpus reads it more than once.
  EXPECT_EQ(read(corpus, {.step = 0, .tokens = 11}),
            (std::vector<Token>{0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 0, 1}));
  EXPECT_EQ(read(numbered_corpus(1), {.step = 9, .tokens = 2}), (std::vector<Token>{0, 0, 0}));
}

TEST(Streams, WindowsOfAStreamOverlapByOneToken) {
  const Corpus corpus = numbered_corpus(101);
  for (std::uint32_t stream = 0; stream < 7; ++stream) {
    std::vector<Token> before = read(corpus, {.stream = stream, .streams = 7, .step = 0, .tokens = 13});
    for (std::uint64_t step = 1; step < 50; ++step) {
      const std::vector<Token> now =
          read(corpus, {.stream = stream, .streams = 7, .step = step, .tokens = 13});
      EXPECT_EQ(before.back(), now.front());
      before = now;
    }
  }
}

TEST(Streams, StartEvenlySpread) {
  const std::uint64_t corpus_tokens = 1000;
  const std::uint32_t streams = 64;
  EXPECT_EQ(window_start(corpus_tokens, {.streams = streams, .tokens = 1}), 0u);
  for (std::uint32_t stream = 1; stream < streams; ++stream) {
    const std::uint64_t gap =
        window_start(corpus_tokens, {.stream = stream, .streams = streams, .tokens = 1}) -
        window_start(corpus_tokens, {.stream = stream - 1, .streams = streams, .tokens = 1});
    EXPECT_TRUE(gap == corpus_tokens / streams || gap == corpus_tokens / streams + 1) << gap;
  }
}

// Together, N/T steps of one stream read every token once as an input.
TEST(Streams, CoverTheCorpus) {
  const Corpus corpus = numbered_corpus(60);
  std::vector<Token> inputs;
  for (std::uint64_t step = 0; step < 10; ++step) {
    const std::vector<Token> window = read(corpus, {.step = step, .tokens = 6});
    inputs.insert(inputs.end(), window.begin(), window.end() - 1);
  }
  EXPECT_EQ(inputs, corpus.tokens);
}

std::uint64_t exact_start(std::uint64_t corpus_tokens, const Window& window) {
  using Wide = unsigned __int128;
  const Wide start = Wide{corpus_tokens} * window.stream / window.streams;
  return static_cast<std::uint64_t>((start + Wide{window.step} * window.tokens) % corpus_tokens);
}

TEST(Streams, StartIsExactForLargeNumbers) {
  const std::uint32_t seed = std::random_device()();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937_64 random(seed);
  for (int trial = 0; trial < 10'000; ++trial) {
    const std::uint64_t corpus_tokens = 1 + (random() % kMaxCorpusTokens >> random() % 34);
    Window window;
    window.streams = 1 + static_cast<std::uint32_t>(random() % 0xFFFFFFFF >> random() % 32);
    window.stream = static_cast<std::uint32_t>(random() % window.streams);
    window.step = random() >> random() % 64;
    window.tokens = 1 + static_cast<std::uint32_t>(random() % kMaxWindowTokens);
    ASSERT_EQ(window_start(corpus_tokens, window), exact_start(corpus_tokens, window)) << trial;
  }
  const Window largest = {
      .stream = 0xFFFFFFFE, .streams = 0xFFFFFFFF, .step = ~std::uint64_t{0}, .tokens = kMaxWindowTokens};
  EXPECT_EQ(window_start(kMaxCorpusTokens, largest), exact_start(kMaxCorpusTokens, largest));
  EXPECT_EQ(window_start(kMaxCorpusTokens - 1, largest), exact_start(kMaxCorpusTokens - 1, largest));
}

TEST(StreamsDeathTest, AbortOnImpossibleWindows) {
  EXPECT_DEATH(window_start(0, {.tokens = 1}), "broken invariant: a corpus of streams");
  EXPECT_DEATH(window_start(9, {.stream = 2, .streams = 2, .tokens = 1}),
               "broken invariant: a window's stream");
  EXPECT_DEATH(window_start(9, {.tokens = 0}), "broken invariant: a window has");
}

TEST(Streams, DistinctTokensAreThoseRead) {
  for (const std::uint32_t corpus_tokens : {1u, 2u, 7u, 50u, 101u}) {
    const Corpus corpus = numbered_corpus(corpus_tokens);
    for (const std::uint32_t streams : {1u, 3u, 8u, 60u}) {
      std::set<Token> seen;
      EXPECT_EQ(distinct_tokens(corpus_tokens, streams, 0, 4), 0u);
      for (std::uint64_t step = 0; step < 30; ++step) {
        for (std::uint32_t s = 0; s < streams; ++s) {
          const auto window = read(corpus, {.stream = s, .streams = streams, .step = step, .tokens = 4});
          seen.insert(window.begin(), window.end());
        }
        EXPECT_EQ(distinct_tokens(corpus_tokens, streams, step + 1, 4), seen.size())
            << corpus_tokens << " tokens, " << streams << " streams, step " << step;
      }
    }
  }
}

}  // namespace
}  // namespace clutch
