// The made-up text: the same bytes everywhere, well formed, and worth learning from.
#include "data/stories.h"

#include <gtest/gtest.h>
#include <xxhash.h>
#include <zstd.h>

#include <set>
#include <sstream>

#include "data/entropy.h"

namespace clutch {
namespace {

std::vector<std::string> documents(const std::string& text) {
  std::vector<std::string> stories;
  std::istringstream stream(text);
  for (std::string story; std::getline(stream, story, '\0');) stories.push_back(story);
  return stories;
}

// A change of the grammar or of the expander changes what every seed means; this digest says so.
TEST(Stories, AreTheSameBytesEverywhere) {
  const std::string text = make_stories(100'000, 42);
  EXPECT_EQ(XXH3_64bits(text.data(), text.size()), 0x10CEE6F799D9C992u);
}

TEST(Stories, HaveExactlyTheBytesAskedFor) {
  const std::string text = make_stories(5000, 1);
  EXPECT_EQ(text.size(), 5000u);
  for (const std::uint64_t bytes : {0, 1, 999, 4999})
    EXPECT_EQ(make_stories(bytes, 1), text.substr(0, bytes));
}

TEST(Stories, DifferBySeed) {
  std::set<std::string> texts;
  for (const std::uint64_t seed : {0ull, 1ull, 2ull, 1ull << 32, ~0ull})
    texts.insert(make_stories(2000, seed));
  EXPECT_EQ(texts.size(), 5u);
}

TEST(Stories, AreDocumentsOfPlainText) {
  std::vector<std::string> stories = documents(make_stories(1'000'000, 3));
  stories.pop_back();  // cut off
  EXPECT_GT(stories.size(), 1000u);
  EXPECT_EQ(std::set<std::string>(stories.begin(), stories.end()).size(), stories.size());
  for (const std::string& story : stories) {
    ASSERT_TRUE(story.ends_with("\n"));
    for (const char c : story) ASSERT_TRUE(c == '\n' || (c >= ' ' && c <= '~')) << story;
    // Marks of the grammar, and of an expansion gone wrong.
    for (const char* const mark : {"[", "]", "{", "}", "|", "/", "  ", " \n", "\n ", "\n\n", " .", " ,", "..",
                                   " a a", " a e", " a i", " a o", " a u"}) {
      ASSERT_EQ(story.find(mark), std::string::npos) << mark << " in\n" << story;
    }
    std::istringstream words(story);
    const auto count = std::distance(std::istream_iterator<std::string>(words), {});
    ASSERT_TRUE(count >= 100 && count <= 180) << count << " words in\n" << story;
  }
}

TEST(Stories, HaveAVocabulary) {
  std::istringstream words(make_stories(1'000'000, 4));
  std::set<std::string> distinct;
  for (std::string word; words >> word;) distinct.insert(word);
  EXPECT_GT(distinct.size(), 800u);
}

// A reader of pairs is far behind one that knows words and sentences, for which a strong compressor stands
// in.
TEST(Stories, AreWorthMoreThanBigrams) {
  const std::string text = make_stories(500'000, 5);
  const std::vector<Token> tokens(text.begin(), text.end());
  const TextEntropy entropy = measure_entropy(tokens);
  std::string packed(ZSTD_compressBound(text.size()), '\0');
  const std::size_t bytes = ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 19);
  const double packed_bits = 8.0 * static_cast<double>(bytes) / static_cast<double>(text.size());
  EXPECT_GT(entropy.unigram_bits, 4.2);
  EXPECT_LT(entropy.unigram_bits, 4.8);
  EXPECT_GT(entropy.bigram_bits, 3);
  EXPECT_LT(packed_bits, entropy.bigram_bits - 2);
}

TEST(Count, Counts) {
  EXPECT_EQ(make_count(5, 3).value(), std::string("\0\1\2\0\1", 5));
  EXPECT_EQ(make_count(257, 256).value().substr(254), std::string("\xFE\xFF\0", 3));
  EXPECT_EQ(make_count(0, 2).value(), "");
}

TEST(Count, RefusesOtherVocabularies) {
  EXPECT_EQ(make_count(5, 1).status().message(),
            "vocabulary: 1 is not in 2..256; use 256, as counting is in bytes");
  EXPECT_FALSE(make_count(5, 257).ok());
}

}  // namespace
}  // namespace clutch
