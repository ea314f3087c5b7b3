// The kept inputs of safetensors. The property is the fuzz target's, which this includes.
#include "fuzz/fuzz_safetensors.cc"
#include "fuzz/replay_corpus.h"

namespace clutch {
namespace {

TEST(FuzzCorpus, SafetensorsReplays) {
  const int files = replay_corpus("safetensors", [](std::string_view input) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  });
  EXPECT_GT(files, 0);
}

}  // namespace
}  // namespace clutch
