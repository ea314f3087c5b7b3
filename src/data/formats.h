// The formats a corpus can come in, as pure functions over bytes: no file is opened here, so that a fuzzer
// can call each of them. Nothing a file says about itself is trusted: sizes are compared with the bytes
// present before anything is allocated, and every value is checked against the vocabulary.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace clutch {

using Token = std::uint16_t;

constexpr std::uint32_t kMaxVocab = 1u << 16;  // what a Token can tell apart

struct TokenLimits {
  std::uint32_t vocab;       // every token is in [0, vocab)
  std::uint64_t max_tokens;  // of the whole corpus
};

// Each append_* adds the tokens of one file to `tokens`. `name` is the file, for messages. Fails where a
// value is outside the vocabulary (naming it and its position), where the corpus would pass max_tokens, or
// where the bytes are not of the format; `tokens` is then of no further use.

// Any bytes; each byte is a token.
Status append_text(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                   std::vector<Token>& tokens);

// Little-endian uint16 values and nothing else.
Status append_bin(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                  std::vector<Token>& tokens);

// NumPy's .npy, version 1.0 or 2.0: one dimension of uint8, or of little-endian uint16 or int32.
Status append_npy(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                  std::vector<Token>& tokens);

// More than an .npy file of one dimension needs before its values: version 1.0 cannot hold a longer header.
constexpr std::uint64_t kMaxNpyHeaderBytes = (1u << 16) + 16;

// The content of one or more concatenated Zstandard frames; content checksums are verified where the frames
// carry them. Grows as it decompresses and fails past max_bytes, so a small file cannot ask for much memory.
Result<std::string> decompress_zstd(std::string_view bytes, const std::string& name, std::uint64_t max_bytes);

}  // namespace clutch
