// Replays the fuzzer's kept corpus in ordinary builds, so that what the fuzzer once found stays fixed. Runs
// in tests/. The property is the fuzz target's, which this includes.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "fuzz/fuzz_safetensors.cc"

namespace clutch {
namespace {

TEST(FuzzCorpus, SafetensorsReplays) {
  const std::filesystem::path corpus = "fuzz/corpus/safetensors";
  ASSERT_TRUE(std::filesystem::is_directory(corpus)) << "run this in tests/";
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    SCOPED_TRACE(entry.path().string());
    const auto bytes = read_file(entry.path(), 1 << 20);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    const std::string& input = bytes.value();
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
    ++files;
  }
  EXPECT_GT(files, 0) << corpus << " is empty";
}

}  // namespace
}  // namespace clutch
