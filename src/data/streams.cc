#include "data/streams.h"

#include <algorithm>

namespace clutch {

std::uint64_t window_start(std::uint64_t corpus_tokens, const Window& window) {
  check(corpus_tokens >= 1 && corpus_tokens <= kMaxCorpusTokens, "a corpus of streams has 1 .. 2^34 tokens");
  check(window.stream < window.streams, "a window's stream is below the number of streams");
  check(window.tokens >= 1 && window.tokens <= kMaxWindowTokens, "a window has 1 .. 2^30-1 tokens");
  // floor(N*s/S) with N = q*S + r is q*s + floor(r*s/S); r and s are below S < 2^32, so r*s fits.
  const std::uint64_t quotient = corpus_tokens / window.streams, remainder = corpus_tokens % window.streams;
  const std::uint64_t start = quotient * window.stream + remainder * window.stream / window.streams;
  const std::uint64_t moved = window.step % corpus_tokens * window.tokens % corpus_tokens;  // product < 2^64
  return (start + moved) % corpus_tokens;
}

void read_window(const Corpus& corpus, const Window& window, Token* out) {
  const std::uint64_t corpus_tokens = corpus.tokens.size();
  std::uint64_t position = window_start(corpus_tokens, window);
  std::uint64_t left = std::uint64_t{window.tokens} + 1;
  while (left > 0) {
    const std::uint64_t count = std::min(left, corpus_tokens - position);
    out = std::copy_n(corpus.tokens.data() + position, count, out);
    left -= count;
    position = 0;
  }
}

std::uint64_t distinct_tokens(std::uint64_t corpus_tokens, std::uint32_t streams, std::uint64_t steps,
                              std::uint32_t tokens) {
  if (steps == 0) return 0;
  const std::uint64_t read = steps * tokens + 1;  // by each stream
  // From one stream's start to the next one's there are N // S tokens, or one more for N mod S of the
  // streams.
  const std::uint64_t gap = corpus_tokens / streams, longer = corpus_tokens % streams;
  return (streams - longer) * std::min(gap, read) + longer * std::min(gap + 1, read);
}

}  // namespace clutch
