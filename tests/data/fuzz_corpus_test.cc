// The kept inputs of the text formats.
#include "fuzz/parsers.h"
#include "fuzz/replay_corpus.h"

namespace clutch {
namespace {

// Some inputs have to parse and some have to fail, or the corpus checks only half of a parser.
void replay(const std::string& name, bool (*target)(std::string_view)) {
  int valid = 0;
  const int files = replay_corpus(name, [&](std::string_view input) { valid += target(input); });
  EXPECT_GT(valid, 0) << "no valid input of " << name;
  EXPECT_GT(files, valid) << "no invalid input of " << name;
}

TEST(FuzzCorpus, Npy) { replay("npy", fuzz_npy); }
TEST(FuzzCorpus, Text) { replay("text", fuzz_text); }

}  // namespace
}  // namespace clutch
