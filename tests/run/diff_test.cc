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

}  // namespace
}  // namespace clutch
