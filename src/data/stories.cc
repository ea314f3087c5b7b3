// The expander of the story grammar: a recursive descent over its text, in the order of its words, which
// makes one choice after the other. story_grammar.h has the words and explains the notation.
#include "data/stories.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>
#include <vector>

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

char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// The position of the bracket that closes the one at text[open].
std::size_t closing(std::string_view text, std::size_t open) {
  int depth = 0;
  for (std::size_t i = open; i < text.size(); ++i) {
    if (text[i] == '[' || text[i] == '{') ++depth;
    if ((text[i] == ']' || text[i] == '}') && --depth == 0) return i;
  }
  check_failed("brackets of the story grammar match", std::string(text));
}

// The choices a|b|c of a text; a '|' inside brackets separates nothing.
std::vector<std::string_view> split_choices(std::string_view text) {
  std::vector<std::string_view> choices;
  std::size_t first = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '[' || text[i] == '{') i = closing(text, i);
    if (text[i] != '|') continue;
    choices.push_back(text.substr(first, i - first));
    first = i + 1;
  }
  choices.push_back(text.substr(first));
  return choices;
}

// White space becomes single spaces and each '/' a new line.
std::string lay_out(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == ' ' || c == '\n') {
      if (!out.empty() && out.back() != ' ' && out.back() != '\n') out += ' ';
    } else if (c == '/') {
      if (!out.empty() && out.back() == ' ') out.pop_back();
      out += '\n';
    } else {
      out += c;
    }
  }
  if (!out.empty() && out.back() == ' ') out.pop_back();
  return out;
}

// One story in the making: expands the grammar and remembers the facts.
class Story {
 public:
  Story(std::uint64_t seed, std::uint32_t number) : choices_(seed, number) {}

  std::string tell() {
    const bool girl = choices_.below(2) == 0;
    facts_["child"] = girl ? "girl" : "boy";
    facts_["hero"] = expand_rule(facts_["child"]);
    cast_pronouns("", girl);
    cast_pronouns("pal", choices_.below(2) == 0);
    return lay_out(expand_rule("story"));
  }

 private:
  void cast_pronouns(const std::string& who, bool female) {
    facts_[who + "he"] = female ? "she" : "he";
    facts_[who + "him"] = female ? "her" : "him";
    facts_[who + "his"] = female ? "her" : "his";
  }

  std::string expand_choices(std::string_view text) {
    const std::vector<std::string_view> choices = split_choices(text);
    return expand_sequence(choices[choices_.below(static_cast<std::uint32_t>(choices.size()))]);
  }

  std::string expand_sequence(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '[' && text[i] != '{') {
        out += text[i];
        continue;
      }
      const std::size_t end = closing(text, i);
      const std::string_view inside = text.substr(i + 1, end - i - 1);
      out += text[i] == '[' ? expand_choices(inside) : expand_slot(inside);
      i = end;
    }
    return out;
  }

  // A slot is rule, Rule or "a rule".
  std::string expand_slot(std::string_view slot) {
    if (slot.starts_with("a ")) {
      const std::string words = expand_rule(std::string(slot.substr(2)));
      const bool vowel = std::string_view("aeiou").find(words.front()) != std::string_view::npos;
      return (vowel ? "an " : "a ") + words;
    }
    std::string rule(slot);
    const bool capital = rule.front() != to_lower(rule.front());
    rule.front() = to_lower(rule.front());
    std::string words = expand_rule(rule);
    if (capital) words.front() = to_upper(words.front());
    return words;
  }

  std::string expand_rule(const std::string& name) {
    if (const auto fact = facts_.find(name); fact != facts_.end()) return fact->second;
    const auto rule = std::find_if(std::begin(kStoryGrammar), std::end(kStoryGrammar),
                                   [&](const GrammarRule& candidate) { return candidate.name == name; });
    if (rule == std::end(kStoryGrammar)) check_failed("the story grammar has this rule", name);
    std::string words = expand_choices(rule->text);
    if (rule->kind == RuleKind::kFact) facts_[name] = words;
    return words;
  }

  Choices choices_;
  std::map<std::string, std::string> facts_;
};

}  // namespace

std::string make_stories(std::uint64_t bytes, std::uint64_t seed) {
  std::string text;
  for (std::uint32_t number = 0; text.size() < bytes; ++number) {
    text += Story(seed, number).tell();
    text += '\n';
    text += '\0';
  }
  text.resize(bytes);
  return text;
}

Result<std::string> make_count(std::uint64_t bytes, std::uint32_t vocab) {
  if (vocab < 2 || vocab > 256) {
    return fail("vocabulary", fmt::format("{} is not in 2..256", vocab), "use 256, as counting is in bytes");
  }
  std::string text(bytes, '\0');
  for (std::uint64_t i = 0; i < bytes; ++i) text[i] = static_cast<char>(i % vocab);
  return text;
}

}  // namespace clutch
