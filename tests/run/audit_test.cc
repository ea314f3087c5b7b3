// An audit passes an honest run and catches one fitness that is not what evaluation says.
#include <algorithm>

#include "run/recorded_run.h"
#include "run/step.h"

namespace clutch {
namespace {

using AuditTest = RecordedRunTest;

TEST_F(AuditTest, AnAuditOfAnHonestRunPasses) {
  const struct {
    const char* name;
    std::function<void(RunConfig&)> change;
  } rows[] = {
      {"sign", [](RunConfig&) {}},
      {"scaled", [](RunConfig& c) { c.fitness = "scaled"; }},
      {"reset", [](RunConfig& c) { c.carry = "reset"; }},
      {"scaled reset", [](RunConfig& c) { c.carry = "reset", c.fitness = "scaled"; }},
      {"groups of 4", [](RunConfig& c) { c.group_size = 4; }},
      {"one group", [](RunConfig& c) { c.group_size = 12; }},
      {"two texts", [](RunConfig& c) { c.texts_per_pair = 2, c.group_size = 3; }},
      {"two texts, scaled",
       [](RunConfig& c) { c.texts_per_pair = 2, c.group_size = 2, c.fitness = "scaled"; }},
      {"noise for 3 steps", [](RunConfig& c) { c.noise_reuse = 3; }},
      {"one noise, rank 3", [](RunConfig& c) { c.noise_reuse = 0, c.rank = 3, c.layers = 2; }},
      {"no checkpoint on the way", [](RunConfig& c) { c.checkpoint_every = 0; }},
      {"all checkpoints", [](RunConfig& c) { c.checkpoint_every = 1, c.keep = 100; }},
      {"half the pairs tied", [](RunConfig& c) { c.sigma_shift = 12; }},
  };
  for (const auto& row : rows) {
    SCOPED_TRACE(row.name);
    RunConfig c = config();
    row.change(c);
    train(row.name, c);
    for (const char* backend : {"reference", "cpu"}) {
      const auto all = audit_path(run_path(row.name), {}, true, backend);
      ASSERT_TRUE(all.ok()) << all.status().message();
      EXPECT_EQ(all.value().compared, 60u);
      EXPECT_EQ(all.value().findings.size(), 0u);
      EXPECT_EQ(all.value().losses.size(), 0u);
    }
    const auto few = audit_path(run_path(row.name), {{9, 5}, {9, 5}, {0, 3}, {5, 0}, {6, 0}});
    ASSERT_TRUE(few.ok()) << few.status().message();
    EXPECT_EQ(few.value().compared, 4u);
    EXPECT_EQ(few.value().findings.size(), 0u);
  }
}

// One fitness that is not what evaluation says, everything behind it rebuilt so that it fits: only an audit
// that draws the pair can tell.
TEST_F(AuditTest, AForgedFitnessIsCaughtWhereItsPairIsDrawn) {
  const struct {
    const char* fitness;
    const char* carry;
  } rows[] = {{"sign", "keep"}, {"sign", "reset"}, {"scaled", "keep"}, {"scaled", "reset"}};
  for (const auto& row : rows) {
    SCOPED_TRACE(std::string(row.fitness) + " " + row.carry);
    RunConfig c = config();
    c.fitness = row.fitness, c.carry = row.carry;
    const std::string name = std::string(row.fitness) + row.carry;
    train(name, c);
    fs::remove_all(run_path(name) + "/checkpoints");
    const FitnessShape shape = *fitness_shape(row.fitness);
    for (const std::uint32_t pair : {0u, 3u, 5u}) {
      copy(name, "forged");
      tamper("forged", [&](std::vector<LogRecord>& r) {
        Opened o = open(run_path(name));
        const Standpoint start = nearest_standpoint(o.recording, o.program, 0).value();
        ASSERT_TRUE(replay(o.recording, o.program, start, 6, *o.backend, kNoProgress).ok());
        r.resize(7);
        r[6].fitness[pair] = other_fitness(shape, r[6].fitness[pair]);
        r[6].digest = apply_step(*o.backend, population(o.recording.config), optimiser(o.recording.config), 6,
                                 r[6].fitness)
                          .value()
                          .digest;
      });
      EXPECT_EQ(replay_path(run_path("forged"), 0, 7), "ok") << "the forgery is consistent";
      for (const bool all : {false, true}) {
        const auto caught = audit_path(run_path("forged"), {{6, pair}}, all);
        ASSERT_TRUE(caught.ok()) << caught.status().message();
        ASSERT_EQ(caught.value().findings.size(), 1u);
        const AuditFinding& finding = caught.value().findings[0];
        EXPECT_EQ(finding.sample, (AuditSample{6, pair}));
        EXPECT_EQ(finding.found, records(name)[6].fitness[pair]);
        EXPECT_EQ(finding.logged, records("forged")[6].fitness[pair]);
      }
      const auto other = audit_path(run_path("forged"), {{6, (pair + 1) % 6}, {5, pair}});
      ASSERT_TRUE(other.ok()) << other.status().message();
      EXPECT_EQ(other.value().findings.size(), 0u);
    }
  }
}

// The lazy forgery: a fitness changed, digests left alone.
TEST_F(AuditTest, AChangedFitnessIsCaughtByAllAndByItsPair) {
  train("run", config());
  for (const int step : {0, 3, 7, 8, 9}) {
    for (const int pair : {0, 5}) {
      SCOPED_TRACE(std::to_string(step) + " " + std::to_string(pair));
      copy("run", "changed");
      tamper("changed", [&](auto& r) {
        std::int8_t& f = r[step].fitness[pair];
        f = static_cast<std::int8_t>(f == 0 ? 1 : -f);
      });
      for (const bool all : {false, true}) {
        const AuditSample sample{static_cast<std::uint64_t>(step), static_cast<std::uint32_t>(pair)};
        const auto caught = audit_path(run_path("changed"), {sample}, all);
        ASSERT_TRUE(caught.ok()) << caught.status().message();
        ASSERT_EQ(caught.value().findings.size(), 1u);
        EXPECT_EQ(caught.value().findings[0].sample, sample);
      }
    }
  }
}

TEST_F(AuditTest, AnAuditOfAllSeesChangedLossesAndDigests) {
  train("run", config());
  for (const int step : {0, 5, 9}) {
    copy("run", "changed");
    tamper("changed", [&](auto& r) { r[step].loss += 1; });
    const auto losses = audit_path(run_path("changed"), {}, true);
    ASSERT_TRUE(losses.ok());
    ASSERT_EQ(losses.value().losses.size(), 1u);
    EXPECT_EQ(losses.value().losses[0].step, static_cast<std::uint64_t>(step));
    EXPECT_EQ(losses.value().losses[0].logged, losses.value().losses[0].found + 1);
  }
  fs::remove_all(run_path("run") + "/checkpoints");
  for (const int step : {0, 5, 9}) {
    copy("run", "changed");
    tamper("changed", [&](auto& r) { r[step].digest += 1; });
    const auto digests = audit_path(run_path("changed"), {}, true);
    ASSERT_FALSE(digests.ok());
    expect_contains(digests.status().message(), "after step " + std::to_string(step + 1) + " the digest is ");
  }
}

TEST_F(AuditTest, AnAuditNeedsTheStates) {
  RunConfig c = config();
  c.carry = "reset";
  train("reset", c);
  train("run", config());
  Checkpoint checkpoint_of_run = read_checkpoint(checkpoint("run", 8)).value();
  const Program program = build_program(checkpoint_of_run.model_config, {}).value();
  for (const std::size_t size : {std::size_t{0}, std::size_t{8}, std::size_t{11 * 8}, std::size_t{13 * 8}}) {
    copy("run", "broken");
    Checkpoint broken = checkpoint_of_run;
    broken.states.assign(size, 1);
    fs::remove(checkpoint("broken", 8));
    ASSERT_TRUE(
        write_checkpoint(run_path("broken"), program, broken, static_cast<std::int64_t>(size) / 8, 9).ok());
    const auto audited = audit_path(run_path("broken"), {{8, 5}});
    ASSERT_FALSE(audited.ok()) << size;
    expect_contains(audited.status().message(), "member states");
  }
}

TEST_F(AuditTest, DrawsAreASeedsAndWithinTheLog) {
  train("run", config());
  const Recording recording = read_recording(run_path("run")).value();
  EXPECT_EQ(draw_samples(recording, 50, 1), draw_samples(recording, 50, 1));
  EXPECT_NE(draw_samples(recording, 50, 1), draw_samples(recording, 50, 2));
  std::vector<AuditSample> many = draw_samples(recording, 2000, 3);
  EXPECT_EQ(many.size(), 2000u);
  std::sort(many.begin(), many.end());
  many.erase(std::unique(many.begin(), many.end()), many.end());
  EXPECT_EQ(many, all_samples(recording)) << "2,000 draws meet each of 60 pieces";
}

}  // namespace
}  // namespace clutch
