// What the log is good for: replay, audit, pack, diff and resume give back the training's bits, and say where
// a log, a checkpoint or a pack is not what training wrote.
#include "run/replay.h"

#include <gtest/gtest.h>
#include <xxhash.h>
#include <zstd.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "backend/select.h"
#include "base/bytes.h"
#include "base/files.h"
#include "base/temp_folder.h"
#include "data/stories.h"
#include "run/audit.h"
#include "run/checkpoint.h"
#include "run/diff.h"
#include "run/pack.h"
#include "run/step.h"
#include "run/text.h"
#include "run/trainer.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;

class Silent : public TrainObserver {
 public:
  void on_step(const StepReport&) override {}
  void on_sample(std::uint64_t, const std::string&) override {}
  void on_checkpoint(std::uint64_t) override {}
};

const ReplayProgress kNoProgress = [](std::uint64_t) {};

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in '" << text << "'";
}

std::string flipped(std::string bytes, std::size_t place, int bit = 4) {
  bytes[place] = static_cast<char>(bytes[place] ^ 1 << bit);
  return bytes;
}

void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

std::string bytes_of(const std::string& path) { return read_file(path, 1 << 24).value(); }

// Another fitness of the shape than f.
std::int8_t other_fitness(FitnessShape shape, std::int8_t f) {
  return static_cast<std::int8_t>(f == max_fitness(shape) ? f - 1 : f + 1);
}

class ReplayTest : public ::testing::Test {
 protected:
  ReplayTest() { write_bytes(folder_ / "text", make_stories(3000, 7)); }

  RunConfig config() const {
    RunConfig c;
    c.data = {folder_ / "text"};
    c.dim = 8, c.population = 12, c.tokens_per_update = 8, c.steps = 10, c.seed = 5;
    c.fitness = "sign", c.sigma_shift = 4;
    c.validate_every = 0, c.checkpoint_every = 4, c.threads = 1;
    return c;
  }

  std::string run_path(const std::string& name) const { return folder_ / name; }

  static Status finish(Result<std::unique_ptr<Trainer>> trainer) {
    if (!trainer.ok()) return trainer.status();
    Silent silent;
    const std::atomic<bool> stop = false;
    return trainer.value()->train(silent, stop);
  }

  void train(const std::string& name, const RunConfig& c) {
    Cluster alone;
    const Status status = finish(Trainer::create(run_path(name), c, alone));
    ASSERT_TRUE(status.ok()) << status.message();
  }

  // "ok", or why it cannot go on.
  std::string resume(const std::string& name, std::int64_t steps, std::vector<std::string>* notes = nullptr) {
    Cluster alone;
    auto c = read_config(run_path(name));
    if (!c.ok()) return c.status().message();
    c.value().steps = steps;
    auto trainer = Trainer::resume(run_path(name), c.value(), alone);
    if (trainer.ok() && notes != nullptr) *notes = trainer.value()->notes();
    return finish(std::move(trainer)).message();
  }

  void copy(const std::string& from, const std::string& to) {
    fs::remove_all(run_path(to));
    fs::copy(run_path(from), run_path(to), fs::copy_options::recursive);
  }

  std::string checkpoint(const std::string& run, int step) const {
    char name[64];
    std::snprintf(name, sizeof name, "/checkpoints/step-%08d.safetensors", step);
    return run_path(run) + name;
  }

  std::vector<LogRecord> records(const std::string& run) const {
    return read_log(log_path(run_path(run))).value().records;
  }

  // Rewrites a run's log with records changed, their checksums good again.
  void tamper(const std::string& run, const std::function<void(std::vector<LogRecord>&)>& change) {
    FitnessLog log = read_log(log_path(run_path(run))).value();
    change(log.records);
    std::string bytes = encode_header(log.header);
    for (const LogRecord& record : log.records) bytes += encode_record(log.header, record);
    write_bytes(log_path(run_path(run)), bytes);
  }

  struct Opened {
    Recording recording;
    Program program;
    std::unique_ptr<Backend> backend;
    Corpus corpus;
  };
  Opened open(const std::string& path, const std::string& backend = "cpu") {
    Recording recording = open_recording(path).value();
    Program program = build_program(recording.model_config, population(recording.config).noise).value();
    Corpus corpus = load_training_text(recording.config).value().train;
    return {std::move(recording), std::move(program), make_backend(backend, 1).value(), std::move(corpus)};
  }

  // "ok", or why the replay from `from` (the nearest point to it) to `to` failed.
  std::string replay_path(const std::string& path, std::uint64_t from, std::uint64_t to,
                          const std::string& backend = "cpu", const ReplayProgress& progress = kNoProgress) {
    Opened o = open(path, backend);
    auto standpoint = nearest_standpoint(o.recording, o.program, from);
    if (!standpoint.ok()) return standpoint.status().message();
    return replay(o.recording, o.program, standpoint.value(), to, *o.backend, progress).message();
  }

  Result<AuditResult> audit_path(const std::string& path, const std::vector<AuditSample>& samples,
                                 bool all = false, const std::string& backend = "cpu") {
    Opened o = open(path, backend);
    return audit(o.recording, o.program, o.corpus, all ? all_samples(o.recording) : samples, *o.backend,
                 kNoProgress);
  }

  TempFolder folder_;
};

// ---- Replay ----

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

// ---- Audit ----

TEST_F(ReplayTest, AnAuditOfAnHonestRunPasses) {
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
TEST_F(ReplayTest, AForgedFitnessIsCaughtWhereItsPairIsDrawn) {
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
        r[6].digest = apply_step(*o.backend, population(o.recording.config),
                                 alpha_schedule(o.recording.config), 6, r[6].fitness)
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
TEST_F(ReplayTest, AChangedFitnessIsCaughtByAllAndByItsPair) {
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

TEST_F(ReplayTest, AnAuditOfAllSeesChangedLossesAndDigests) {
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

TEST_F(ReplayTest, AnAuditNeedsTheStates) {
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

TEST_F(ReplayTest, DrawsAreASeedsAndWithinTheLog) {
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

// ---- Pack ----

TEST_F(ReplayTest, APackIsTheRun) {
  for (const char* fitness : {"sign", "scaled"}) {
    RunConfig c = config();
    c.fitness = fitness, c.alpha = "1.5";
    train(fitness, c);
    const Recording recording = read_recording(run_path(fitness)).value();
    const auto bytes = pack(recording);
    ASSERT_TRUE(bytes.ok()) << bytes.status().message();
    const auto again = unpack(bytes.value(), "a pack");
    ASSERT_TRUE(again.ok()) << again.status().message();
    EXPECT_EQ(to_json(again.value().config), to_json(recording.config));
    EXPECT_EQ(again.value().log.header, recording.log.header);
    EXPECT_EQ(again.value().log.records, recording.log.records);
    EXPECT_EQ(again.value().corpus_digest, recording.corpus_digest);
    EXPECT_NE(again.value().corpus_digest, "");

    write_bytes(folder_ / "run.clutch", bytes.value());
    EXPECT_EQ(replay_path(folder_ / "run.clutch", 10, 10), "ok");
    const auto audited = audit_path(folder_ / "run.clutch", {}, true);
    ASSERT_TRUE(audited.ok());
    EXPECT_EQ(audited.value().compared, 60u);
    EXPECT_TRUE(audited.value().findings.empty());
  }
}

TEST_F(ReplayTest, EveryFlipAndCutOfAPackIsFound) {
  train("run", config());
  const std::string bytes = pack(read_recording(run_path("run")).value()).value();
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {0, 7}) EXPECT_FALSE(unpack(flipped(bytes, i, bit), "a pack").ok()) << i;
    EXPECT_FALSE(unpack(bytes.substr(0, i), "a pack").ok()) << i;
  }
  EXPECT_FALSE(unpack(bytes + '\0', "a pack").ok());
}

// A pack whose checksum is right over whatever it holds.
std::string sealed_pack(const std::string& plain) {
  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  packed.resize(ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), 19));
  std::string file = "CLUTCHPK";
  put_little_endian(file, XXH3_64bits(packed.data(), packed.size()), 8);
  return file + packed;
}

TEST_F(ReplayTest, PacksOfSomethingElseAreRefused) {
  train("run", config());
  const std::string log = bytes_of(log_path(run_path("run")));
  const std::string config_text = to_json(read_config(run_path("run")).value());
  std::string one_line = config_text;
  std::erase(one_line, '\n');
  const std::string good = R"({"corpus_digest": "", "config": )" + one_line + "}\n";
  const auto message = [](const std::string& plain) {
    const auto recording = unpack(sealed_pack(plain), "a pack");
    return recording.ok() ? "accepted" : recording.status().message();
  };
  EXPECT_EQ(message(good + log), "accepted");
  expect_contains(message(""), "no configuration");
  expect_contains(message("\n" + log), "no configuration");
  expect_contains(message("{}\n" + log), "no configuration");
  expect_contains(message("[1]\n" + log), "no configuration");
  expect_contains(message(std::string(100000, '[') + "\n" + log), "no configuration");
  expect_contains(message(R"({"config": 3, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "a pack");
  expect_contains(message(R"({"config": {"dim": "x"}, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "dim");
  expect_contains(message(R"({"config": {}, "corpus_digest": 3})"
                          "\n" +
                          log),
                  "no configuration");
  expect_contains(message(R"({"config": {"data": ["x"]}, "corpus_digest": ""})"
                          "\n" +
                          log),
                  "pairs");
  expect_contains(message(good), "no fitness log");
  expect_contains(message(good + log.substr(0, log.size() - 1)), "cut off");
  expect_contains(message(good + flipped(log, 60)), "damaged");
}

TEST_F(ReplayTest, ABombIsRefused) {
  const std::string bomb = sealed_pack(std::string(std::size_t{200} << 20, '\0'));
  EXPECT_LT(bomb.size(), 30000u);
  const auto recording = unpack(bomb, "a bomb");
  ASSERT_FALSE(recording.ok());
  expect_contains(recording.status().message(), "a bomb: decompresses to more than ");
}

// ---- Diff ----

TEST_F(ReplayTest, DiffOfRuns) {
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

TEST_F(ReplayTest, DiffSeesATamperedCopy) {
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

TEST_F(ReplayTest, DiffOfModels) {
  train("run", config());
  EXPECT_TRUE(diff(checkpoint("run", 8), checkpoint("run", 8)).value().equal);
  EXPECT_TRUE(diff(checkpoint("run", 10), run_path("run")).value().equal);
  EXPECT_FALSE(diff(checkpoint("run", 8), run_path("run")).value().equal);
  EXPECT_FALSE(diff(checkpoint("run", 8), folder_ / "text").ok());
}

// ---- Resume ----

TEST_F(ReplayTest, AKilledRunKeepsItsLaterRecordsAndDoesThemAgain) {
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

TEST_F(ReplayTest, ADamagedLogIsCutAfterTheCheckpointAndRefusedBefore) {
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

TEST_F(ReplayTest, AResumeWithoutItsLog) {
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

TEST_F(ReplayTest, OneFlippedByteOfACheckpointNeverPassesUnseen) {
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
    // A resume compares it with the text.
    ++(read.value().corpus_digest == expected.corpus_digest ? harmless : other_text);
  }
  EXPECT_LT(harmless, 60) << "the seconds it took, their name, white space";
  EXPECT_LT(other_text, 60);
  EXPECT_GT(seen, static_cast<int>(bytes.size()) - 120);
}

TEST_F(ReplayTest, TwoCannotTrainOneRun) {
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
