// Tokens as a person reads and types them: bytes are text, tokens of other vocabularies are numbers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"

namespace clutch {

constexpr std::int64_t kByteVocab = 256;

// One token: its byte, or (vocab other than 256) its number and a space.
std::string render_token(std::uint16_t token, std::int64_t vocab);

// A prompt as tokens: its bytes, or (vocab other than 256) numbers with white space between. Fails, naming
// `flag`, on what is no number or outside the vocabulary.
Result<std::vector<std::uint16_t>> parse_prompt(const std::string& prompt, std::int64_t vocab,
                                                const std::string& flag);

}  // namespace clutch
