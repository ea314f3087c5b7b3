// Replay gives back the training's weights, and says where a log or a checkpoint is not what training wrote.
#include "run/recorded_run.h"

namespace clutch {
namespace {

using ReplayTest = RecordedRunTest;

TEST_F(ReplayTest, WeightsOfEveryStepOnEveryBackend) {
  RunConfig c = config();
  c.checkpoint_every = 1, c.keep = 100, c.noise_reuse = 2, c.fitness = "scaled";
  train("run", c);
  for (const char* backend : {"reference", "cpu"}) {
    Opened o = open(run_path("run"), backend);
    for (std::uint64_t to = 0; to <= 10; ++to) {
      for (const std::uint64_t from : {std::uint64_t{1}, to / 2, to}) {
        if (from > to || (to > 0 && from == 0)) continue;
        const Standpoint standpoint = nearest_standpoint(o.recording, o.program, from).value();
        EXPECT_EQ(standpoint.step, from);
        std::vector<std::uint64_t> seen;
        const Status status = replay(o.recording, o.program, standpoint, to, *o.backend,
                                     [&](std::uint64_t step) { seen.push_back(step); });
        ASSERT_TRUE(status.ok()) << status.message();
        EXPECT_EQ(seen.size(), to - from);
        Weights weights;
        ASSERT_TRUE(o.backend->read_weights(weights).ok());
        if (to == 0) continue;
        EXPECT_EQ(weights, read_checkpoint(checkpoint("run", static_cast<int>(to))).value().weights);
      }
    }
  }
}

TEST_F(ReplayTest, FromTheStartWithoutACheckpoint) {
  train("run", config());
  const Weights expected = read_last_checkpoint(run_path("run")).value().weights;
  fs::remove_all(run_path("run") + "/checkpoints");
  for (const char* backend : {"reference", "cpu"}) {
    Opened o = open(run_path("run"), backend);
    const Standpoint start = nearest_standpoint(o.recording, o.program, 10).value();
    EXPECT_EQ(start.step, 0u);
    ASSERT_TRUE(replay(o.recording, o.program, start, 10, *o.backend, kNoProgress).ok());
    Weights weights;
    ASSERT_TRUE(o.backend->read_weights(weights).ok());
    EXPECT_EQ(weights, expected);
  }
}

TEST_F(ReplayTest, FromAnotherModel) {
  train("first", config());
  RunConfig c = config();
  c.init = checkpoint("first", 10), c.seed = 6, c.keep = 1, c.dim = 64;
  train("second", c);
  fs::remove_all(run_path("second") + "/checkpoints");
  EXPECT_EQ(replay_path(run_path("second"), 0, 10), "ok");
  fs::remove(checkpoint("first", 10));
  expect_contains(replay_path(run_path("second"), 0, 10), checkpoint("first", 10));
  fs::copy(checkpoint("first", 8), checkpoint("first", 10));
  expect_contains(replay_path(run_path("second"), 0, 10), "the weights at step 0 have digest");
}

TEST_F(ReplayTest, BeyondTheEnd) {
  train("run", config());
  expect_contains(replay_path(run_path("run"), 10, 11), "its log holds 10 steps, not 11");
  write_bytes(log_path(run_path("run")), flipped(bytes_of(log_path(run_path("run"))), 40 + 34 * 9 + 3));
  expect_contains(replay_path(run_path("run"), 8, 10), "its log holds 9 steps, not 10");
  expect_contains(replay_path(run_path("run"), 8, 10), "of step 9 at byte 346");
  EXPECT_EQ(replay_path(run_path("run"), 8, 9), "ok");
}

TEST_F(ReplayTest, AChangedRecordIsNamed) {
  for (const char* fitness : {"sign", "scaled"}) {
    RunConfig c = config();
    c.fitness = fitness;
    train(fitness, c);
    fs::remove_all(run_path(fitness) + "/checkpoints");
    for (const int step : {0, 4, 9}) {
      copy(fitness, "changed");
      tamper("changed", [&](auto& r) { r[step].digest ^= 1; });
      expect_contains(replay_path(run_path("changed"), 0, 10),
                      "after step " + std::to_string(step + 1) + " the digest is ");
      EXPECT_EQ(replay_path(run_path("changed"), 0, static_cast<std::uint64_t>(step)), "ok");

      // A fitness that was 1 or more and is -1 moves other weights.
      copy(fitness, "changed");
      tamper("changed", [&](auto& r) {
        for (std::int8_t& f : r[step].fitness) f = static_cast<std::int8_t>(-f);
      });
      expect_contains(replay_path(run_path("changed"), 0, 10),
                      "after step " + std::to_string(step + 1) + " the digest is ");
    }
  }
}

// A checkpoint that is not what its name or the run says is refused, on every way in.
TEST_F(ReplayTest, CheckpointsOfSomethingElse) {
  train("run", config());
  RunConfig c = config();
  c.seed = 6;
  train("seed", c);
  c = config(), c.layers = 2;
  train("layers", c);
  c = config(), c.dim = 9;
  train("dim", c);
  const struct {
    std::string from, expected;
  } rows[] = {
      {checkpoint("run", 8), "step"},
      {checkpoint("seed", 10), "digest"},
      {checkpoint("layers", 10), "another model"},
      {checkpoint("dim", 10), "another model"},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.from);
    copy("run", "broken");
    fs::copy_file(row.from, checkpoint("broken", 10), fs::copy_options::overwrite_existing);
    if (row.expected != "step") {  // the checkpoint of step 8 under another name is good to go on from
      expect_contains(replay_path(run_path("broken"), 10, 10), row.expected);
      expect_contains(resume("broken", 12), row.expected);
      const auto audited = audit_path(run_path("broken"), {{9, 0}});
      EXPECT_TRUE(audited.ok()) << "the checkpoint of step 8 serves it";
    }
    fs::remove(checkpoint("broken", 8));
    fs::remove(checkpoint("broken", 4));
    fs::rename(checkpoint("broken", 10), checkpoint("broken", 2));
    expect_contains(replay_path(run_path("broken"), 2, 2), "the checkpoint of ");
    expect_contains(replay_path(run_path("broken"), 2, 2), " is of step ");
    EXPECT_FALSE(audit_path(run_path("broken"), {{2, 0}}).ok());
  }
}

TEST_F(ReplayTest, AConfigOfAnotherRun) {
  train("run", config());
  const std::string before = bytes_of(config_path(run_path("run")));
  const auto with = [&](const std::string& from, const std::string& to) {
    copy("run", "broken");
    std::string text = before;
    text.replace(text.find(from), from.size(), to);
    write_bytes(config_path(run_path("broken")), text);
  };
  for (const char* other : {"\"layers\": 2", "\"layers\": 3"}) {
    with("\"layers\": 1", other);
    expect_contains(replay_path(run_path("broken"), 10, 10), "another model");
    expect_contains(resume("broken", 12), "another model");
  }
  with("\"dim\": 8", "\"dim\": 7");
  expect_contains(replay_path(run_path("broken"), 10, 10), "another model");
  expect_contains(resume("broken", 12), "another model");
  for (const auto& [from, to] : {std::pair{"\"population\": 12", "\"population\": 14"},
                                 {"\"fitness\": \"sign\"", "\"fitness\": \"scaled\""}}) {
    with(from, to);
    EXPECT_FALSE(open_recording(run_path("broken")).ok());
    EXPECT_NE(resume("broken", 12), "ok");
  }
  with("\"alpha\": \"0.5\"", "\"alpha\": \"0.25\"");
  expect_contains(replay_path(run_path("broken"), 8, 10), "after step 9 the digest is ");
}

}  // namespace
}  // namespace clutch
