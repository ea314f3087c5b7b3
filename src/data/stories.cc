#include "data/stories.h"

#include <fmt/format.h>

#include <map>
#include <string_view>

#include "data/story_grammar.h"
#include "exact/noise.h"

namespace clutch {
namespace {

// The choices of one story: choice i is word i%4 of block i/4 of the story's own stream of noise.
class Choices {
 public:
  Choices(std::uint64_t seed, std::uint32_t story)
      : key_{.seed = seed, .epoch = story, .role = exact::NoiseRole::kText} {}

  // In 0 .. count-1. The bias of scaling 32 bits down is below count / 2^32.
  std::uint32_t below(std::uint32_t count) {
    const std::uint32_t word = exact::noise_block(key_, made_ / 4)[made_ % 4];
    ++made_;
    return static_cast<std::uint32_t>(std::uint64_t{word} * count >> 32);
  }

 private:
  exact::NoiseKey key_;
  std::uint32_t made_ = 0;
};

bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char to_lower(char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

// One story in the making: expands the grammar and remembers the facts.
class Story {
 public:
  Story(std::uint64_t seed, std::uint32_t number) : choices_(seed, number) {}

  std::string tell() {
    const bool girl = choices_.below(2) == 0;
    facts_ = {{"child", girl ? "girl" : "boy"}};
    facts_["hero"] = expand_rule(girl ? "girl" : "boy");
    cast_pronouns("", girl);
    cast_pronouns("pal", choices_.below(2) == 0);
    expand_rule("story")...
  }
};
}  // namespace
}  // namespace clutch
