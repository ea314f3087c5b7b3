// What no backend has to cope with: requests that are none.
#include "backend/backend.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/null/null.h"

namespace clutch {
namespace {

// A request of two members on one stream of three tokens.
struct Asked {
  std::vector<std::uint16_t> text = {1, 2, 3, 4};
  std::vector<std::uint32_t> stream_of = {0, 0};
  std::vector<std::int64_t> losses = {0, 0};
  std::optional<NoiseSource> noise = NoiseSource{};

  Status evaluate() {
    return make_null_backend()->evaluate(
        {.noise = noise, .length = 3, .text = text, .stream_of = stream_of, .states = nullptr},
        {.losses = losses, .logits = {}});
  }
};

TEST(BackendDeathTest, RefusesRequestsThatAreNone) {
  Asked whole;
  EXPECT_TRUE(whole.evaluate().ok());

  Asked odd;
  odd.stream_of.push_back(0), odd.losses.push_back(0);
  EXPECT_DEATH((void)odd.evaluate(), "members beyond whole pairs, with noise.*1 != 0");
  odd.noise.reset();
  EXPECT_TRUE(odd.evaluate().ok());

  Asked losses;
  losses.losses.pop_back();
  EXPECT_DEATH((void)losses.evaluate(), "losses asked for, and members.*1 != 2");

  Asked text;
  text.text.pop_back();
  EXPECT_DEATH((void)text.evaluate(), "tokens of the text beyond whole streams.*3 != 0");

  Asked stream;
  stream.stream_of[1] = 1;
  EXPECT_DEATH((void)stream.evaluate(), "a stream that the text does not have");
}

}  // namespace
}  // namespace clutch
