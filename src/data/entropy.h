// Two baselines to print beside a model's loss: what a text costs a reader that knows only how often tokens
// come, or only which token follows which. Both are measured on the very text they are compared with (plug-in
// estimates, nothing added), so a model has to know more than pairs to beat the second. For printing only:
// floating point here decides nothing.
#pragma once

#include <span>

#include "data/corpus.h"

namespace clutch {

struct TextEntropy {
  double unigram_bits = 0;  // H(token), per token
  double bigram_bits = 0;   // H(next token | token), per token
};

// 0 and 0 for an empty text. Takes O(n log n) time and 8 bytes per token.
TextEntropy measure_entropy(std::span<const Token> tokens);

}  // namespace clutch
