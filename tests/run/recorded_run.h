// What tests of recorded runs share: tiny runs, trained, copied, tampered with, replayed and audited.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "backend/select.h"
#include "base/files.h"
#include "base/temp_folder.h"
#include "data/stories.h"
#include "run/audit.h"
#include "run/checkpoint.h"
#include "run/pack.h"
#include "run/replay.h"
#include "run/text.h"
#include "run/trainer.h"

namespace clutch {

namespace fs = std::filesystem;

class Silent : public TrainObserver {
 public:
  void on_step(const StepReport&) override {}
  void on_sample(std::uint64_t, const std::string&) override {}
  void on_checkpoint(std::uint64_t) override {}
};

inline const ReplayProgress kNoProgress = [](std::uint64_t) {};

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in '" << text << "'";
}

inline std::string flipped(std::string bytes, std::size_t place, int bit = 4) {
  bytes[place] = static_cast<char>(bytes[place] ^ 1 << bit);
  return bytes;
}

inline void write_bytes(const std::string& path, std::string_view bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

inline std::string bytes_of(const std::string& path) { return read_file(path, 1 << 24).value(); }

// Another fitness of the shape than f.
inline std::int8_t other_fitness(FitnessShape shape, std::int8_t f) {
  return static_cast<std::int8_t>(f == max_fitness(shape) ? f - 1 : f + 1);
}

class RecordedRunTest : public ::testing::Test {
 protected:
  RecordedRunTest() { write_bytes(folder_ / "text", make_stories(3000, 7)); }

  RunConfig config() const {
    RunConfig c;
    c.data = {folder_ / "text"};
    c.dim = 8, c.population = 12, c.tokens_per_update = 8, c.steps = 10, c.seed = 5;
    c.texts_per_pair = 1;
    c.rule = "threshold", c.schedule = "inverse", c.weight_decay = "0", c.fitness = "sign", c.sigma_shift = 4;
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
  static Opened open(const std::string& path, const std::string& backend = "cpu") {
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

}  // namespace clutch
