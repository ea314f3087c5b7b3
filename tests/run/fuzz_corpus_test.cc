// The kept inputs of logs and packs. The property is the fuzz target's, which this includes.
#include "fuzz/fuzz_log.cc"
#include "fuzz/replay_corpus.h"

namespace clutch {
namespace {

TEST(FuzzCorpus, LogsAndPacksReplay) {
  const int files = replay_corpus("log", [](std::string_view input) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  });
  EXPECT_GT(files, 5);
}

}  // namespace
}  // namespace clutch
