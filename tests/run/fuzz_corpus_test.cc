// Replays the fuzzer's kept inputs of logs and packs in ordinary builds. The property is the fuzz target's,
// which this includes. Runs in tests/.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/files.h"
#include "fuzz/fuzz_log.cc"

namespace clutch {
namespace {

TEST(FuzzCorpus, LogsAndPacksReplay) {
  const std::filesystem::path corpus = "fuzz/corpus/log";
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
  EXPECT_GT(files, 5);
}

}  // namespace
}  // namespace clutch
