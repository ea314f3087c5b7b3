// What is counted of a model's numbers, by hand; and that a trace of a text is counted whole.
#include "inspect/inspect.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "backend/select.h"
#include "models/model.h"

namespace clutch {
namespace {

TEST(Numbers, AreCounted) {
  Numbers n;
  const std::vector<std::int8_t> values = {-127, 0, 0, 127};
  n.add(values);
  EXPECT_EQ(n.count(), 4u);
  EXPECT_EQ(n.least(), -127);
  EXPECT_EQ(n.most(), 127);
  EXPECT_DOUBLE_EQ(n.mean(), 0);
  EXPECT_NEAR(n.deviation(), 89.8026, 1e-4);  // 127 / sqrt(2)
  EXPECT_DOUBLE_EQ(n.entropy(), 1.5);         // 1/2, 1/4, 1/4
  EXPECT_DOUBLE_EQ(n.saturated(), 0.5);
  EXPECT_DOUBLE_EQ(n.zeros(), 0.5);
  EXPECT_EQ(n.histogram()[128], 2u);
}

TEST(Numbers, OfEverythingHaveEightBits) {
  Numbers n;
  for (int v = -128; v < 128; ++v) n.add(std::vector<std::int8_t>{static_cast<std::int8_t>(v)});
  EXPECT_DOUBLE_EQ(n.entropy(), 8);
  EXPECT_DOUBLE_EQ(n.mean(), -0.5);
}

TEST(Numbers, OfNothingAreZero) {
  const Numbers n;
  EXPECT_EQ(n.least(), 0);
  EXPECT_EQ(n.most(), 0);
  EXPECT_DOUBLE_EQ(n.deviation(), 0);
  EXPECT_DOUBLE_EQ(n.entropy(), 0);
}

class InspectTest : public ::testing::Test {
 protected:
  InspectTest()
      : program_(build_program({.dim = 16, .layers = 2}, {}).value()),
        weights_(initial_weights(program_, 3)) {
    std::vector<Token> tokens;
    for (int i = 0; i < 1000; ++i) tokens.push_back(static_cast<Token>(97 + i * i % 11));
    corpus_ = make_corpus(tokens, 256);
  }
  std::vector<InstructionReport> activations(const std::string& name, std::uint64_t tokens) {
    auto backend = make_backend(name, 1);
    EXPECT_TRUE(backend.ok());
    EXPECT_TRUE(backend.value()->load(program_, {}, weights_).ok());
    auto reports = inspect_activations(*backend.value(), program_, corpus_, tokens);
    EXPECT_TRUE(reports.ok());
    return std::move(reports).value();
  }
  Program program_;
  Weights weights_;
  Corpus corpus_;
};

TEST_F(InspectTest, WeightsAgainstTheirStart) {
  Weights now = weights_;
  now[0][5] = static_cast<std::int8_t>(now[0][5] + 1);
  const auto reports = inspect_weights(program_, now, &weights_);
  ASSERT_EQ(reports.size(), program_.tensors.size());
  EXPECT_EQ(reports[0].shape, (std::vector<std::int64_t>{256, 16}));
  EXPECT_DOUBLE_EQ(*reports[0].moved, 1.0 / (256 * 16));
  EXPECT_DOUBLE_EQ(*reports[1].moved, 0);
  EXPECT_FALSE(inspect_weights(program_, now, nullptr)[0].moved);
}

TEST_F(InspectTest, EveryResultOfEveryTokenIsCounted) {
  const auto reports = activations("reference", 600);  // three windows of 256
  ASSERT_EQ(reports.size(), program_.instructions.size());
  for (std::size_t i = 0; i < reports.size(); ++i) {
    const Slot& slot = program_.slots[program_.instructions[i].dst];
    EXPECT_EQ(reports[i].slot, slot.name);
    EXPECT_EQ(reports[i].numbers.count(), 3 * 256 * static_cast<std::uint64_t>(slot.width)) << slot.name;
  }
}

TEST_F(InspectTest, BackendsSeeTheSame) {
  const auto one = activations("reference", 300), other = activations("cpu", 300);
  for (std::size_t i = 0; i < one.size(); ++i)
    EXPECT_EQ(one[i].numbers.histogram(), other[i].numbers.histogram()) << one[i].instruction;
}

TEST_F(InspectTest, WarningsNameWhatIsWrong) {
  Inspection inspection;
  Weights now = weights_;
  std::fill(now[0].begin(), now[0].begin() + 1000, std::int8_t{127});  // of 4,096
  inspection.tensors = inspect_weights(program_, now, &weights_);
  inspection.instructions = {{"%1 = add", "stuck", {}}};
  inspection.instructions[0].numbers.add(std::vector<std::int8_t>(100, 7));
  const auto warnings = warnings_of(inspection);
  ASSERT_EQ(warnings.size(), 1 + program_.tensors.size() - 1 + 1);
  EXPECT_EQ(warnings[0], "emb: 24 % of the weights are at -127 or 127 and cannot grow");
  EXPECT_EQ(warnings[1], program_.tensors[1].label() + ": training has moved none of its weights");
  EXPECT_EQ(warnings.back(), "stuck: its results hardly vary (0.00 bits of entropy)");
}

TEST_F(InspectTest, OneLineOfJson) {
  const Inspection inspection{
      inspect_weights(program_, weights_, nullptr), activations("cpu", 10), {"a \"b\""}};
  const std::string line = to_json_line(inspection);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto json = nlohmann::json::parse(line);
  EXPECT_EQ(json["tensors"].size(), program_.tensors.size());
  EXPECT_EQ(json["results"].size(), program_.instructions.size());
  EXPECT_EQ(json["warnings"][0], "a \"b\"");
}

}  // namespace
}  // namespace clutch
