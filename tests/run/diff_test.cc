// Where two runs or models part, counted by hand.
#include "run/diff.h"

#include "run/recorded_run.h"

namespace clutch {
namespace {

using DiffTest = RecordedRunTest;

TEST_F(DiffTest, DiffOfRuns) {
  train("a", config());
  RunConfig c = config();
  c.backend = "reference", c.steps = 8, c.checkpoint_every = 3;
  train("same", c);
  c = config(), c.seed = 6;
  train("start", c);
  c = config(), c.alpha = "0.25";
  train("alpha", c);
  c = config(), c.layers = 2;
  train("layers", c);
  const auto compare = [&](const std::string& a, const std::string& b) {
    return diff(run_path(a), run_path(b));
  };
  for (const char* same : {"a", "same"}) {
    const auto difference = compare("a", same);
    ASSERT_TRUE(difference.ok()) << difference.status().message();
    EXPECT_TRUE(difference.value().equal);
  }
  expect_contains(compare("a", "same").value().text, "equal in all 8 steps both have (10 and 8)");

  EXPECT_FALSE(compare("a", "start").value().equal);
  expect_contains(compare("a", "start").value().text, "they start from different weights\nemb: ");

  const Difference alpha = compare("a", "alpha").value();
  EXPECT_FALSE(alpha.equal);
  expect_contains(alpha.text, "they part at step 1\n");
  expect_contains(alpha.text, "fitness of 0 of 6 pairs differs there");
  // Counted by hand from checkpoints of that step.
  const RunConfig one_a = [&] {
    RunConfig o = config();
    o.steps = 1;
    return o;
  }();
  RunConfig one_b = one_a;
  one_b.alpha = "0.25";
  train("one a", one_a);
  train("one b", one_b);
  const Model ma = load_model(run_path("one a")).value(), mb = load_model(run_path("one b")).value();
  int differing = 0;
  std::ptrdiff_t first = -1;
  for (std::size_t i = 0; i < ma.weights[0].size(); ++i) {
    if (ma.weights[0][i] == mb.weights[0][i]) continue;
    if (differing++ == 0) first = static_cast<std::ptrdiff_t>(i);
  }
  ASSERT_GT(differing, 0);
  expect_contains(alpha.text, ma.program.tensors[0].label() + ": " + std::to_string(differing) + " of " +
                                  std::to_string(ma.weights[0].size()) + " differ, first [" +
                                  std::to_string(first / 8) + "][" + std::to_string(first % 8) +
                                  "]: " + std::to_string(ma.weights[0][first]) + " and " +
                                  std::to_string(mb.weights[0][first]) + "\n");
  EXPECT_EQ(compare("one a", "one b").value().text, alpha.text);

  EXPECT_FALSE(compare("a", "layers").ok());
  EXPECT_FALSE(compare("a", "nowhere").ok());
}

TEST_F(DiffTest, DiffSeesATamperedCopy) {
  train("run", config());
  for (const auto& change : std::vector<std::function<void(LogRecord&)>>{
           [](LogRecord& r) { r.fitness[2] = r.fitness[2] == 0 ? 1 : 0; },
           [](LogRecord& r) { r.digest ^= 1; },
           [](LogRecord& r) { r.loss += 1; },
       }) {
    copy("run", "changed");
    tamper("changed", [&](auto& r) { change(r[6]); });
    const auto difference = diff(run_path("run"), run_path("changed"));
    ASSERT_TRUE(difference.ok()) << difference.status().message();
    EXPECT_FALSE(difference.value().equal);
    expect_contains(difference.value().text, "they part at step 7\n");
  }
  copy("run", "damaged");
  write_bytes(log_path(run_path("damaged")), flipped(bytes_of(log_path(run_path("run"))), 40 + 34 * 5 + 3));
  const auto damaged = diff(run_path("run"), run_path("damaged"));
  ASSERT_TRUE(damaged.ok());
  expect_contains(damaged.value().text, "equal in all 5 steps");
  expect_contains(damaged.value().text, "record 5 at byte 210 is damaged");
}

TEST_F(DiffTest, DiffOfModels) {
  train("run", config());
  EXPECT_TRUE(diff(checkpoint("run", 8), checkpoint("run", 8)).value().equal);
  EXPECT_TRUE(diff(checkpoint("run", 10), run_path("run")).value().equal);
  EXPECT_FALSE(diff(checkpoint("run", 8), run_path("run")).value().equal);
  EXPECT_FALSE(diff(checkpoint("run", 8), folder_ / "text").ok());
}

TEST_F(DiffTest, WhatARuleRemembers) {
  RunConfig c = config();
  c.rule = "momentum", c.rate = "1";
  train("run", c);
  copy("run", "changed");
  const Checkpoint good = read_checkpoint(checkpoint("run", 10)).value();
  const Program program = build_program(good.model_config, {}).value();
  const auto with = [&](const RuleMemory& memory) {
    Checkpoint other = good;
    other.memory = memory;
    EXPECT_TRUE(write_checkpoint(run_path("changed"), program, other, c.population, 9).ok());
    return diff(checkpoint("run", 10), checkpoint("changed", 10)).value();
  };
  EXPECT_TRUE(with(good.memory).equal);
  EXPECT_EQ(with(good.memory).text, "equal\n");

  RuleMemory memory = good.memory;
  const std::int32_t was = memory.state[0][0][3];
  memory.state[0][0][3] = was / 2 + 1;
  const Difference one = with(memory);
  EXPECT_FALSE(one.equal);
  EXPECT_EQ(one.text, "emb.momentum: 1 of " + std::to_string(memory.state[0][0].size()) +
                          " differ, first [0][3]: " + std::to_string(was) + " and " +
                          std::to_string(was / 2 + 1) + "\n");
  const Difference rules = with({});
  EXPECT_FALSE(rules.equal);
  EXPECT_EQ(rules.text, "their rules differ: momentum and threshold\n");

  // A file that is of no run has weights alone.
  const std::string alone = folder_ / "alone.safetensors";
  const SafetensorsFile file{to_tensors(program, good.weights), to_metadata(good.model_config)};
  ASSERT_TRUE(write_safetensors(alone, file).ok());
  const Difference half = diff(checkpoint("run", 10), alone).value();
  EXPECT_TRUE(half.equal);
  EXPECT_EQ(half.text, "equal\nnote: " + alone + " is of no run, so what a rule remembers is not compared\n");

  // Runs that part: the same votes at another rate leave other fractions of a step.
  c.rate = "0.7";
  train("rate", c);
  const Difference runs = diff(run_path("run"), run_path("rate")).value();
  expect_contains(runs.text, "they part at step ");
  expect_contains(runs.text, "\nemb.fraction: ");
  EXPECT_EQ(runs.text.find("emb.momentum: "), std::string::npos) << runs.text;
}

}  // namespace
}  // namespace clutch
