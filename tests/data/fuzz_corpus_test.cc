// Replays the inputs that fuzzing found worth keeping, so that every build checks them without libFuzzer.
// Runs in the folder tests/.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>

#include "fuzz/parsers.h"

namespace clutch {
namespace {

// Some inputs have to parse and some have to fail, or the corpus checks only half of a parser.
void replay(const std::string& folder, bool (*target)(std::string_view)) {
  ASSERT_TRUE(std::filesystem::is_directory(folder)) << folder << " is missing; run this in tests/";
  int valid = 0, invalid = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().string());
    std::ifstream file(entry.path(), std::ios::binary);
    ASSERT_TRUE(file.is_open());
    const std::string input{std::istreambuf_iterator<char>(file), {}};
    ++(target(input) ? valid : invalid);
  }
  EXPECT_GT(valid, 0) << "no valid input in " << folder;
  EXPECT_GT(invalid, 0) << "no invalid input in " << folder;
}

TEST(FuzzCorpus, Npy) { replay("fuzz/corpus/npy", fuzz_npy); }
TEST(FuzzCorpus, Text) { replay("fuzz/corpus/text", fuzz_text); }

}  // namespace
}  // namespace clutch
