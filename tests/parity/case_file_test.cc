// Cases as files: what is written comes back, and nothing that is not a whole legal case is taken.
#include "parity/case_file.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <functional>
#include <sstream>

#include "backend/random_program.h"
#include "base/files.h"
#include "base/safetensors.h"
#include "base/temp_folder.h"
#include "fuzz/fuzz_case.cc"
#include "fuzz/replay_corpus.h"

namespace clutch::parity {
namespace {

// One step of a random case, with what a rule remembers and carried states.
Case one_step(std::uint64_t seed) {
  for (;; seed += 1000) {
    Case c = random_case(seed);
    c.steps.resize(1);
    if (!c.start.states.empty() && c.start.memory.rule != exact::Rule::threshold &&
        !c.start.memory.state.empty() && c.start.program.state_width() > 0)
      return c;
  }
}

class CaseFile : public ::testing::Test {
 protected:
  TempFolder folder_;
  std::string path_ = folder_ / "case.safetensors";

  SafetensorsFile written(const Case& c) {
    EXPECT_TRUE(write_case(path_, c).ok());
    return read_safetensors(path_).value();
  }
  std::string refusal(const SafetensorsFile& file) {
    EXPECT_TRUE(write_safetensors(path_, file).ok());
    const auto read = read_case(path_);
    EXPECT_FALSE(read.ok());
    return read.ok() ? "" : read.status().message();
  }
};

TEST_F(CaseFile, ComesBackAsItWas) {
  for (std::uint64_t seed = 1; seed <= 12; ++seed) {
    const Case c = one_step(seed);
    ASSERT_TRUE(write_case(path_, c).ok());
    const auto read = read_case(path_);
    ASSERT_TRUE(read.ok()) << read.status().message();
    const Case& again = read.value();
    EXPECT_EQ(program_to_json(again.start.program), program_to_json(c.start.program));
    EXPECT_EQ(again.start.weights, c.start.weights);
    EXPECT_EQ(again.start.memory.state, c.start.memory.state);
    EXPECT_EQ(again.start.states, c.start.states);
    const Step &a = again.steps[0], &b = c.steps[0];
    EXPECT_EQ(a.evaluation->text, b.evaluation->text);
    EXPECT_EQ(a.evaluation->stream_of, b.evaluation->stream_of);
    EXPECT_EQ(a.evaluation->noise.has_value(), b.evaluation->noise.has_value());
    EXPECT_EQ(a.evaluation->noise->seed, b.evaluation->noise->seed);
    EXPECT_EQ(a.evaluation->noise->first_pair, b.evaluation->noise->first_pair);
    EXPECT_EQ(a.update->fitness, b.update->fitness);
    EXPECT_EQ(a.update->matrix.scale.multiplier, b.update->matrix.scale.multiplier);
    EXPECT_EQ(a.update->vector.rate_q12, b.update->vector.rate_q12);
    EXPECT_EQ(a.update->matrix.decay_q24, b.update->matrix.decay_q24);
    EXPECT_EQ(a.update->matrix.threshold, b.update->matrix.threshold);
    // What is written a second time is the same file.
    const std::string first = read_file(path_, 1 << 30).value();
    ASSERT_TRUE(write_case(path_, again).ok());
    EXPECT_EQ(read_file(path_, 1 << 30).value(), first);
  }
}

// Every metadata key and every tensor: left out, and of another value or shape.
TEST_F(CaseFile, EveryPartIsNeededAndChecked) {
  const SafetensorsFile good = written(one_step(3));
  for (const auto& [key, value] : good.metadata) {
    SafetensorsFile file = good;
    file.metadata.erase(key);
    // Without these there is no noise, or no update: a case of its own.
    if (key != "noise_seed" && key != "update_seed" && key != "length") {
      EXPECT_NE(refusal(file).find(key), std::string::npos) << key;
    }
    for (const char* wrong : {"", "-1", "x", "99999999999999999999999", "1e3", "[[[[[[]]]]]]"}) {
      file.metadata[key] = wrong;
      EXPECT_FALSE(refusal(file).empty()) << key << " = " << wrong;
    }
  }
  for (std::size_t t = 0; t < good.tensors.size(); ++t) {
    const std::string& name = good.tensors[t].name;
    SafetensorsFile file = good;
    file.tensors.erase(file.tensors.begin() + static_cast<std::ptrdiff_t>(t));
    if (name != "states" && name != "rule.0.0") {  // a case without them is another
      EXPECT_NE(refusal(file).find(name), std::string::npos) << name;
    }
    file = good;
    file.tensors[t].shape = {file.tensors[t].shape[0] + 1};
    file.tensors[t].data.assign(
        static_cast<std::size_t>(file.tensors[t].shape[0] * bytes_of(file.tensors[t].type)), 0);
    EXPECT_NE(refusal(file).find(name), std::string::npos) << name;
    file = good;
    if (file.tensors[t].data.empty()) continue;
    if (file.tensors[t].type == ElementType::kInt8)
      file.tensors[t].data.back() = -128;
    else
      file.tensors[t].data[3] = 0x7F;  // the high byte of the first word
    EXPECT_NE(refusal(file).find(name), std::string::npos) << name;
  }
}

// Programs that are JSON, but no legal program.
TEST_F(CaseFile, ProgramsAreVerified) {
  const SafetensorsFile good = written(one_step(4));
  const std::string json = good.metadata.at("program");
  const std::pair<const char*, const char*> changes[] = {
      {"\"dst\":", "\"dst\":1000, \"was\":"},
      {"\"op\":\"embed\"", "\"op\":\"leap\""},
      {"\"output\":", "\"output\":60000,\"was\":"},
      {"\"vocab\":", "\"vocab\":1,\"was\":"},
      {"\"rows\":", "\"rows\":2147483647,\"was\":"},
      {"\"width\":", "\"width\":2147483647,\"was\":"},
      {"\"slots\":[", "\"slots\":[[[[[[[[[[1]]]]]]]]],"},
  };
  for (const auto& [from, to] : changes) {
    SafetensorsFile file = good;
    std::string& text = file.metadata["program"];
    const std::size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos) << from;
    text.replace(at, std::string(from).size(), to);
    EXPECT_NE(refusal(file).find("program"), std::string::npos) << from;
  }
}

// Any damage to the bytes is refused or gives a whole legal case: never more than was read.
TEST_F(CaseFile, DamagedBytesDoNoHarm) {
  Case small = one_step(6);
  ASSERT_TRUE(write_case(path_, small).ok());
  const std::string bytes = read_file(path_, 1 << 30).value();
  testing::Random random(8);
  int refused = 0;
  for (int i = 0; i < 300; ++i) {
    std::string damaged = bytes;
    const std::int64_t header = std::min<std::int64_t>(std::ssize(bytes) - 1, 6000);
    for (std::int64_t n = random.in(1, 3); n > 0; --n)
      damaged[static_cast<std::size_t>(random.in(0, header))] = static_cast<char>(random.in(0, 255));
    if (random.chance(20)) damaged.resize(static_cast<std::size_t>(random.in(0, std::ssize(damaged))));
    const auto read = parse_case(damaged, "damaged");
    refused += !read.ok();
    if (!read.ok()) continue;
    EXPECT_TRUE(verify(read.value().start.program, read.value().start.noise).ok());
  }
  EXPECT_GT(refused, 150);
}

TEST(FuzzCorpus, CasesReplay) {
  const int files = replay_corpus("case", [](std::string_view input) { fuzz_case(input); });
  EXPECT_GT(files, 3);
}

}  // namespace
}  // namespace clutch::parity
