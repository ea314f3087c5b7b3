// Tokens as people type and read them.
#include "generate/text.h"

#include <gtest/gtest.h>

namespace clutch {
namespace {

using Tokens = std::vector<std::uint16_t>;

TEST(Text, BytesAreThemselves) {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const auto tokens = parse_prompt(all, 256, "-p");
  ASSERT_TRUE(tokens.ok());
  std::string back;
  for (int byte = 0; byte < 256; ++byte) {
    EXPECT_EQ(tokens.value()[byte], byte);
    back += render_token(tokens.value()[byte], 256);
  }
  EXPECT_EQ(back, all);
  EXPECT_EQ(parse_prompt("", 256, "-p").value(), Tokens{});
}

TEST(Text, OtherVocabulariesAreNumbers) {
  EXPECT_EQ(render_token(65535, 65536), "65535 ");
  EXPECT_EQ(render_token(0, 2), "0 ");
  EXPECT_EQ(parse_prompt(" 0 16\n\t007 99 ", 100, "-p").value(), (Tokens{0, 16, 7, 99}));
  EXPECT_EQ(parse_prompt("65535", 65536, "-p").value(), Tokens{65535});
  EXPECT_EQ(parse_prompt("  ", 100, "-p").value(), Tokens{});
  const Tokens some = {5, 0, 99};
  std::string text;
  for (const std::uint16_t token : some) text += render_token(token, 100);
  EXPECT_EQ(parse_prompt(text, 100, "-p").value(), some);
}

TEST(Text, RefusesWhatIsNoToken) {
  for (const char* word : {"100", "-1", "x", "5x", "1.0", "+5", "0x1", "5,6", "99999999999999999999"}) {
    const auto tokens = parse_prompt(std::string("1 ") + word + " 2", 100, "--prompt");
    ASSERT_FALSE(tokens.ok()) << word;
    EXPECT_EQ(tokens.status().message(),
              std::string("--prompt: '") + word +
                  "' is no token of this model; its vocabulary is not bytes: give numbers in 0..99");
  }
  EXPECT_FALSE(parse_prompt("hello", 255, "-p").ok());
}

}  // namespace
}  // namespace clutch
