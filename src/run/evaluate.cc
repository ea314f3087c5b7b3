#include "run/evaluate.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "exact/loss.h"

namespace clutch {
namespace {

constexpr std::uint64_t kTokensAtATime = 1024;  // per stream and call; states carry over

}  // namespace

double TextLoss::bits_per_token() const {
  return tokens == 0 ? 0
                     : static_cast<double>(loss) / static_cast<double>(1 << exact::kLossFractionBits) /
                           static_cast<double>(tokens);
}

Result<TextLoss> evaluate_text(Backend& backend, const Corpus& corpus, std::uint32_t streams,
                               std::uint64_t max_per_stream) {
  check(corpus.tokens.size() >= 2, "a text to evaluate has at least two tokens");
  const std::uint64_t predicted = corpus.tokens.size() - 1;
  streams = static_cast<std::uint32_t>(std::min<std::uint64_t>(streams, predicted));
  const std::uint64_t per_stream = std::min(predicted / streams, max_per_stream);
  auto states = backend.new_states(streams);
  if (!states.ok()) return states.status();

  std::vector<std::uint32_t> stream_of(streams);
  std::iota(stream_of.begin(), stream_of.end(), 0u);
  std::vector<std::int64_t> losses(streams);
  TextLoss total;
  for (std::uint64_t begin = 0; begin < per_stream; begin += kTokensAtATime) {
    const std::uint64_t length = std::min(kTokensAtATime, per_stream - begin);
    std::vector<Token> text;
    for (std::uint32_t s = 0; s < streams; ++s) {
      const auto from = corpus.tokens.begin() + static_cast<std::int64_t>(predicted * s / streams + begin);
      text.insert(text.end(), from, from + static_cast<std::int64_t>(length) + 1);
    }
    CLUTCH_RETURN_IF_ERROR(backend.evaluate({.noise = {},
                                             .length = static_cast<std::uint32_t>(length),
                                             .text = text,
                                             .stream_of = stream_of,
                                             .states = states.value().get()},
                                            {.losses = losses, .logits = {}}));
    total.loss = std::accumulate(losses.begin(), losses.end(), total.loss);
    total.tokens += length * streams;
  }
  return total;
}

}  // namespace clutch
