// What is UTF-8: every sequence of up to three bytes, and the borders of longer ones, against the JSON
// library's own check.
#include "base/utf8.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

namespace clutch {
namespace {

bool by_json(const std::string& text) {
  try {
    (void)nlohmann::json(text).dump();
    return true;
  } catch (const nlohmann::json::type_error&) {
    return false;
  }
}

// Bytes at which what is allowed changes.
constexpr int kBorders[] = {0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                            0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
                            0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF};

TEST(Utf8, IsWhatTheJsonLibraryTakes) {
  EXPECT_TRUE(is_utf8(""));
  std::string text;
  const auto expect_same = [&] { ASSERT_EQ(is_utf8(text), by_json(text)) << ::testing::PrintToString(text); };
  for (int a = 0; a < 256; ++a) {
    text = {static_cast<char>(a)};
    expect_same();
    for (int b = 0; b < 256; ++b) {
      text = {static_cast<char>(a), static_cast<char>(b)};
      expect_same();
    }
  }
  for (const int a : kBorders) {
    for (const int b : kBorders) {
      for (const int c : kBorders) {
        text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c)};
        expect_same();
        for (const int d : {0x41, 0x7F, 0x80, 0xBF, 0xC0}) {
          text = {static_cast<char>(a), static_cast<char>(b), static_cast<char>(c), static_cast<char>(d)};
          expect_same();
        }
      }
    }
  }
}

TEST(Utf8, CharactersHaveOneToFourBytes) {
  EXPECT_EQ(utf8_character_bytes(""), 0u);
  EXPECT_EQ(utf8_character_bytes("ab"), 1u);
  EXPECT_EQ(utf8_character_bytes("\xC3\xBC!"), 2u);
  EXPECT_EQ(utf8_character_bytes("\xE2\x96\x81!"), 3u);
  EXPECT_EQ(utf8_character_bytes("\xF0\x9F\xA5\x9A!"), 4u);
  EXPECT_EQ(utf8_character_bytes("\xF0\x9F\xA5"), 0u);
}

}  // namespace
}  // namespace clutch
