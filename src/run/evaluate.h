// How well a model predicts a text, without noise.
#pragma once

#include <cstdint>

#include "backend/backend.h"
#include "data/corpus.h"

namespace clutch {

struct TextLoss {
  std::int64_t loss = 0;     // sum over the tokens, in units of 2^-20 bit
  std::uint64_t tokens = 0;  // predicted
  double bits_per_token() const;
};

// Held-out evaluation as NUMERICS.md, "Text", has it: min(streams, tokens - 1) streams spread over the
// corpus, each from a zero state, each predicting floor((tokens - 1) / streams) tokens, at most
// max_per_stream. The backend has the model loaded; its training states are untouched. The corpus has at
// least 2 tokens.
Result<TextLoss> evaluate_text(Backend& backend, const Corpus& corpus, std::uint32_t streams,
                               std::uint64_t max_per_stream);

}  // namespace clutch
