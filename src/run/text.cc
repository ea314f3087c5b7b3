#include "run/text.h"

#include <fmt/format.h>

#include "exact/loss.h"

namespace clutch {

Result<TrainingText> load_training_text(const RunConfig& config) {
  TrainingText text;
  const auto vocab = static_cast<std::uint32_t>(config.vocab);
  if (config.vocab < 2 || config.vocab > exact::kMaxVocab) {
    return fail("--vocab", fmt::format("{} is outside 2..{}", config.vocab, exact::kMaxVocab),
                "bytes have 256");
  }
  auto corpus = load_corpus(config.data, vocab);
  if (!corpus.ok()) return corpus.status();
  const auto least = static_cast<std::uint64_t>(config.tokens_per_update) + 1;
  if (!config.valid.empty()) {
    auto valid = load_corpus({config.valid}, vocab);
    if (!valid.ok()) return valid.status();
    text.held_out = std::move(valid).value();
    if (text.held_out.tokens.size() < 2) return fail("--valid", "holds a single token", "hold out more text");
    text.train = std::move(corpus).value();
  } else if (const std::uint32_t permille = valid_permille(config); permille > 0) {
    const std::size_t tokens = corpus.value().tokens.size();
    if (tokens * permille / 1000 < 2) {
      return fail("--valid-fraction",
                  fmt::format("{} of the {} tokens of --data hold out nothing to measure",
                              config.valid_fraction, tokens),
                  "bring more text, or pass --valid FILE or --valid-fraction 0");
    }
    auto split = split_tail(std::move(corpus).value(), permille, 2);
    if (!split.ok()) return split.status();
    text.train = std::move(split.value().train);
    text.held_out = std::move(split.value().held_out);
  } else {
    text.train = std::move(corpus).value();
  }
  if (text.train.tokens.size() < least) {
    return fail("--data",
                fmt::format("{} tokens to train on are too short for --tokens-per-update {}",
                            text.train.tokens.size(), config.tokens_per_update),
                fmt::format("bring at least {} tokens, or fewer per update", least));
  }
  return text;
}

}  // namespace clutch
