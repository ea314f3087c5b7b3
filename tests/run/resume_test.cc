// A resume ends with the log of a run that never stopped, whatever was left of it, or says why it cannot.
#include "run/recorded_run.h"

namespace clutch {
namespace {

using ResumeTest = RecordedRunTest;

TEST_F(ResumeTest, AKilledRunKeepsItsLaterRecordsAndDoesThemAgain) {
  RunConfig c = config();
  c.steps = 14;
  train("whole", c);
  const std::string log = bytes_of(log_path(run_path("whole")));
  // As a kill after step 11 leaves it: the log to 11, the checkpoint of 8.
  const auto kill = [&](std::string bytes) {
    copy("whole", "killed");
    fs::remove(checkpoint("killed", 14));
    fs::remove(checkpoint("killed", 12));
    write_bytes(log_path(run_path("killed")), bytes);
  };
  const std::size_t end = 40 + 34 * 11;
  kill(log.substr(0, end));
  std::vector<std::string> notes;
  EXPECT_EQ(resume("killed", 10, &notes), "ok");
  EXPECT_TRUE(notes.empty());
  EXPECT_EQ(bytes_of(log_path(run_path("killed"))), log.substr(0, end)) << "later records are kept";
  EXPECT_EQ(resume("killed", 14), "ok");
  EXPECT_EQ(bytes_of(log_path(run_path("killed"))), log);

  // A later record that is not what comes out: the resume stops there and leaves the log as it was.
  for (const int step : {8, 10}) {
    kill(log.substr(0, end));
    tamper("killed", [&](auto& r) { r[step].fitness[0] = r[step].fitness[0] == 0 ? 1 : 0; });
    const std::string before = bytes_of(log_path(run_path("killed")));
    expect_contains(resume("killed", 14),
                    "step " + std::to_string(step + 1) + " came out differently from what was logged");
    EXPECT_EQ(bytes_of(log_path(run_path("killed"))), before);
  }
}

TEST_F(ResumeTest, ADamagedLogIsCutAfterTheCheckpointAndRefusedBefore) {
  RunConfig c = config();
  c.steps = 14;
  train("whole", c);
  const std::string log = bytes_of(log_path(run_path("whole")));
  for (int record = 0; record < 14; ++record) {
    SCOPED_TRACE(record);
    for (const bool cut : {false, true}) {
      copy("whole", "killed");
      fs::remove(checkpoint("killed", 14));  // 12 is left
      const std::size_t place = 40 + 34 * static_cast<std::size_t>(record) + 11;
      const std::string damaged = cut ? log.substr(0, place) : flipped(log, place);
      write_bytes(log_path(run_path("killed")), damaged);
      std::vector<std::string> notes;
      const std::string outcome = resume("killed", 14, &notes);
      if (record >= 12) {
        EXPECT_EQ(outcome, "ok");
        ASSERT_EQ(notes.size(), 1u);
        expect_contains(notes[0], "at byte " + std::to_string(place - 11));
        EXPECT_EQ(bytes_of(log_path(run_path("killed"))), log);
      } else {
        expect_contains(outcome,
                        "holds " + std::to_string(record) + " good steps, fewer than the checkpoint's 12");
        expect_contains(outcome, "at byte " + std::to_string(place - 11));
        EXPECT_EQ(bytes_of(log_path(run_path("killed"))), damaged) << "a refusal changes nothing";
      }
    }
  }
}

TEST_F(ResumeTest, AResumeWithoutItsLog) {
  train("run", config());
  copy("run", "broken");
  fs::remove(log_path(run_path("broken")));
  expect_contains(resume("broken", 12), "fitness.log");
  RunConfig c = config();
  c.seed = 6;
  train("other", c);
  copy("run", "broken");
  fs::copy_file(log_path(run_path("other")), log_path(run_path("broken")),
                fs::copy_options::overwrite_existing);
  expect_contains(resume("broken", 12), "says digest ");
  c.fitness = "scaled";
  train("shape", c);
  copy("run", "broken");
  fs::copy_file(log_path(run_path("shape")), log_path(run_path("broken")),
                fs::copy_options::overwrite_existing);
  expect_contains(resume("broken", 12), "is of another run");

  // Killed before the first checkpoint: no log, part of its header, some records.
  const std::string log = bytes_of(log_path(run_path("run")));
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, std::size_t{39}, std::size_t{40},
                                 std::size_t{41}, std::size_t{74}, std::size_t{140}}) {
    copy("run", "young");
    fs::remove_all(run_path("young") + "/checkpoints");
    write_bytes(log_path(run_path("young")), log.substr(0, size));
    EXPECT_EQ(resume("young", 10), "ok") << size;
    EXPECT_EQ(bytes_of(log_path(run_path("young"))), log) << size;
  }
}

TEST_F(ResumeTest, AnotherHeldOutTextIsNoticed) {
  const std::string valid = folder_ / "held-out";
  write_bytes(valid, make_stories(800, 8));
  RunConfig c = config();
  c.valid = valid;
  train("run", c);
  write_bytes(valid, make_stories(800, 9));
  expect_contains(resume("run", 12), "--valid: the held-out text has digest ");
  fs::remove_all(run_path("run") + "/checkpoints");
  EXPECT_EQ(resume("run", 12), "ok") << "everything is measured anew";
  write_bytes(valid, make_stories(800, 8));
  expect_contains(resume("run", 14), "--valid: the held-out text has digest ");

  // A checkpoint of before this was recorded.
  const Checkpoint last = read_last_checkpoint(run_path("run")).value();
  EXPECT_EQ(last.held_out_digest.size(), 16u);
  Checkpoint old = last;
  old.held_out_digest = "";
  const Program program = build_program(old.model_config, {}).value();
  ASSERT_TRUE(write_checkpoint(run_path("run"), program, old, c.population, 9).ok());
  EXPECT_EQ(resume("run", 14), "ok");
}

TEST_F(ResumeTest, OneFlippedByteOfACheckpointNeverPassesUnseen) {
  train("run", config());
  const std::string bytes = bytes_of(checkpoint("run", 10));
  const Checkpoint expected = parse_checkpoint(bytes, "whole").value();
  int seen = 0, other_text = 0, harmless = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const auto read = parse_checkpoint(flipped(bytes, i, static_cast<int>(i % 8)), "flipped");
    if (!read.ok()) {
      ++seen;
      continue;
    }
    EXPECT_EQ(read.value().step, expected.step) << "byte " << i;
    EXPECT_EQ(read.value().weights, expected.weights) << "byte " << i;
    EXPECT_EQ(read.value().states, expected.states) << "byte " << i;
    EXPECT_EQ(to_metadata(read.value().model_config), to_metadata(expected.model_config)) << "byte " << i;
    // A resume compares them with the texts.
    const bool same_texts = read.value().corpus_digest == expected.corpus_digest &&
                            read.value().held_out_digest == expected.held_out_digest;
    ++(same_texts ? harmless : other_text);
  }
  EXPECT_LT(harmless, 90) << "the seconds it took, their name, white space";
  EXPECT_LT(other_text, 90);
  EXPECT_GT(seen, static_cast<int>(bytes.size()) - 180);
}

TEST_F(ResumeTest, TwoCannotTrainOneRun) {
  train("run", config());
  Cluster alone;
  auto c = read_config(run_path("run")).value();
  auto first = Trainer::resume(run_path("run"), c, alone);
  ASSERT_TRUE(first.ok());
  const std::string before = bytes_of(log_path(run_path("run")));
  expect_contains(resume("run", 12), "is being trained by another process");
  EXPECT_EQ(bytes_of(log_path(run_path("run"))), before);
  first.value().reset();
  EXPECT_EQ(resume("run", 12), "ok");
}

}  // namespace
}  // namespace clutch
