#include "generate/text.h"

#include <fmt/format.h>

#include <charconv>
#include <sstream>

namespace clutch {

std::string render_token(std::uint16_t token, std::int64_t vocab) {
  return vocab == kByteVocab ? std::string(1, static_cast<char>(token)) : fmt::format("{} ", token);
}

Result<std::vector<std::uint16_t>> parse_prompt(const std::string& prompt, std::int64_t vocab,
                                                const std::string& flag) {
  std::vector<std::uint16_t> tokens;
  if (vocab == kByteVocab) {
    for (const char byte : prompt) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }
  std::istringstream words(prompt);
  for (std::string word; words >> word;) {
    std::int64_t value = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc() || end != word.data() + word.size() || value < 0 || value >= vocab) {
      return fail(flag, fmt::format("'{}' is no token of this model", word),
                  fmt::format("its vocabulary is not bytes: give numbers in 0..{}", vocab - 1));
    }
    tokens.push_back(static_cast<std::uint16_t>(value));
  }
  return tokens;
}

}  // namespace clutch
