// What the fuzz targets do with an input, shared with the test that replays the kept inputs: it goes through
// the parsers of data/formats.h, and what they return has to keep their promises.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/formats.h"

namespace clutch {

constexpr TokenLimits kFuzzLimits = {.vocab = 300, .max_tokens = 1 << 20};
const std::string kFuzzName = "fuzz";

// Aborts unless the outcome is tokens within the limits, or a failure that names the file.
inline void check_outcome(const Status& status, const std::vector<Token>& tokens) {
  if (!status.ok()) {
    check(status.message().starts_with(kFuzzName + ": "), "a failure names the file");
    return;
  }
  check(tokens.size() <= kFuzzLimits.max_tokens, "a parser keeps to max_tokens");
  for (const Token token : tokens) check(token < kFuzzLimits.vocab, "a parser keeps to the vocabulary");
}

// Returns whether the input is a valid file.
inline bool fuzz_npy(std::string_view input) {
  std::vector<Token> tokens;
  const Status status = append_npy(input, kFuzzName, kFuzzLimits, tokens);
  check_outcome(status, tokens);
  return status.ok();
}

// The first byte picks the format of the rest: text, bin, or text in zstd.
inline bool fuzz_text(std::string_view input) {
  if (input.empty()) return false;
  const int format = static_cast<unsigned char>(input.front()) % 3;
  const std::string_view bytes = input.substr(1);
  std::vector<Token> tokens;
  Status status;
  if (format == 0) {
    status = append_text(bytes, kFuzzName, kFuzzLimits, tokens);
  } else if (format == 1) {
    status = append_bin(bytes, kFuzzName, kFuzzLimits, tokens);
  } else {
    const Result<std::string> content = decompress_zstd(bytes, kFuzzName, kFuzzLimits.max_tokens);
    status = content.ok() ? append_text(content.value(), kFuzzName, kFuzzLimits, tokens) : content.status();
  }
  check_outcome(status, tokens);
  return status.ok();
}

}  // namespace clutch
