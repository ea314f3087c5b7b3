// Who reads what when: the corpus as a number of streams that start evenly spread over it and each move on by
// one window per step, wrapping round at its end. A window is a pure function of its name, so nothing needs
// to be saved for a resume. Where a window wraps, the last token of the corpus is followed by its first.
#pragma once

#include <cstdint>

#include "data/corpus.h"

namespace clutch {

// Bound on Window::tokens, so that positions fit in 64 bits: kMaxCorpusTokens * 2^30 = 2^64.
constexpr std::uint32_t kMaxWindowTokens = (1u << 30) - 1;

struct Window {
  std::uint32_t stream = 0;   // 0 .. streams-1
  std::uint32_t streams = 1;  // that share the corpus; 1 .. 2^32-1
  std::uint64_t step = 0;     // any: a stream never ends
  std::uint32_t tokens = 0;   // T, the input tokens of one step; 1 .. kMaxWindowTokens
};

// The position in the corpus of the window's first token:
// (floor(corpus_tokens * stream / streams) + step * T) mod corpus_tokens, exactly. corpus_tokens is in
// 1 .. kMaxCorpusTokens.
std::uint64_t window_start(std::uint64_t corpus_tokens, const Window& window);

// Fills out[T + 1]: T inputs, and one more, as the targets are out[1 .. T]. So the last token of a window is
// the first of the stream's next window. The corpus may be shorter than the window, but not empty.
void read_window(const Corpus& corpus, const Window& window, Token* out);

// How many different tokens of the corpus all streams together have read, inputs and targets, in the first
// `steps` steps of `tokens` each. steps * tokens is below 2^63.
std::uint64_t distinct_tokens(std::uint64_t corpus_tokens, std::uint32_t streams, std::uint64_t steps,
                              std::uint32_t tokens);

}  // namespace clutch
