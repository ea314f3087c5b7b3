// Replays the inputs that fuzzing found worth keeping, so that every build checks them without libFuzzer. Its
// users run in tests/.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/files.h"

namespace clutch {

// Hands every file of tests/fuzz/corpus/<name> to `target` and returns how many there are.
template <class F>
int replay_corpus(const std::string& name, F target) {
  const std::filesystem::path corpus = "fuzz/corpus/" + name;
  int files = 0;
  if (!std::filesystem::is_directory(corpus)) {
    ADD_FAILURE() << corpus << " is missing; run this in tests/";
    return files;
  }
  for (const auto& entry : std::filesystem::directory_iterator(corpus)) {
    SCOPED_TRACE(entry.path().string());
    const auto bytes = read_file(entry.path(), 1 << 20);
    EXPECT_TRUE(bytes.ok()) << bytes.status().message();
    if (!bytes.ok()) continue;
    target(std::string_view(bytes.value()));
    ++files;
  }
  return files;
}

}  // namespace clutch
