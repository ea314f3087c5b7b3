// The training loop: golden digests, which the second implementation (tests/second/clutch2.py) computed, and
// the promise that nothing but the run's meaning changes them: no backend, no thread, no stop, no resume, no
// validation, sample or checkpoint on the way.
#include "run/trainer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "backend/select.h"
#include "base/files.h"
#include "base/temp_folder.h"
#include "data/stories.h"
#include "data/streams.h"
#include "run/evaluate.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;
using Digests = std::vector<std::uint64_t>;

Cluster alone;  // of one process

class Watcher : public TrainObserver {
 public:
  void on_step(const StepReport& report) override {
    reports.push_back(report);
    if (report.step == stop_after) stop = true;
  }
  void on_sample(std::uint64_t step, const std::string& text) override { samples.emplace_back(step, text); }
  void on_checkpoint(std::uint64_t step) override { checkpoints.push_back(step); }

  Digests digests() const {
    Digests list;
    for (const StepReport& report : reports) list.push_back(report.digest);
    return list;
  }

  std::vector<StepReport> reports;
  std::vector<std::pair<std::uint64_t, std::string>> samples;
  std::vector<std::uint64_t> checkpoints;
  std::uint64_t stop_after = 0;
  std::atomic<bool> stop = false;
};

// A folder with 4,000 bytes of stories, and runs beside them.
class TrainerTest : public ::testing::Test {
 protected:
  TrainerTest() { std::ofstream(text(), std::ios::binary) << make_stories(4000, 7); }

  std::string text() const { return folder_ / "text"; }
  std::string run_path(const std::string& name) const { return folder_ / name; }

  // Everything is set, so that defaults may be tuned.
  RunConfig config() const {
    RunConfig c;
    c.data = {text()};
    c.dim = 8, c.layers = 1, c.vocab = 256, c.dialect = "nano-egg", c.activation = "none";
    c.population = 8, c.group_size = 2, c.texts_per_pair = 1, c.noise_reuse = 1, c.rank = 1,
    c.sigma_shift = 4;
    c.tokens_per_update = 16, c.alpha = "0.5", c.alpha_decay = "0.002", c.fitness = "sign", c.seed = 1;
    c.rule = "threshold", c.schedule = "inverse", c.weight_decay = "0";
    c.valid_fraction = "0.05", c.valid_tokens = 131072, c.validate_every = 0, c.sample_every = 0;
    c.steps = 5, c.checkpoint_every = 100, c.keep = 3, c.backend = "reference", c.threads = 1;
    return c;
  }

  RunConfig other_config() const {
    RunConfig c = config();
    c.dim = 6, c.layers = 2, c.dialect = "egg.c", c.activation = "relu";
    c.population = 12, c.group_size = 4, c.texts_per_pair = 1, c.noise_reuse = 2, c.seed = 99, c.rank = 3,
    c.sigma_shift = 2;
    c.tokens_per_update = 10, c.alpha = "0.3", c.alpha_decay = "0.05", c.fitness = "scaled";
    c.valid_fraction = "0";
    return c;
  }

  // Trains a new run, or goes on with one; the watcher's digests are those of the steps it saw.
  void create(const std::string& name, const RunConfig& c, Watcher& watcher) {
    auto trainer = Trainer::create(run_path(name), c, alone);
    ASSERT_TRUE(trainer.ok()) << trainer.status().message();
    const Status status = trainer.value()->train(watcher, watcher.stop);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  void resume(const std::string& name, const RunConfig& c, Watcher& watcher) {
    auto trainer = Trainer::resume(run_path(name), c, alone);
    ASSERT_TRUE(trainer.ok()) << trainer.status().message();
    const Status status = trainer.value()->train(watcher, watcher.stop);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  Digests digests_of(const RunConfig& c) {
    Watcher watcher;
    create("run" + std::to_string(runs_++), c, watcher);
    return watcher.digests();
  }
  std::string refusal(const RunConfig& c) const {
    const auto trainer = Trainer::create(run_path("refused"), c, alone);
    EXPECT_FALSE(fs::exists(run_path("refused"))) << "a refusal leaves no folder";
    return trainer.ok() ? "accepted" : trainer.status().message();
  }

  // The steps and digests in a run's metrics.jsonl.
  std::vector<std::pair<std::uint64_t, std::string>> metrics(const std::string& name) const {
    std::vector<std::pair<std::uint64_t, std::string>> lines;
    std::ifstream file(metrics_path(run_path(name)));
    for (std::string line; std::getline(file, line);) {
      const auto json = nlohmann::json::parse(line);
      lines.emplace_back(json["step"], json["digest"]);
    }
    return lines;
  }

  void expect_same_end(const std::string& a, const std::string& b) const {
    const Checkpoint left = read_last_checkpoint(run_path(a)).value(),
                     right = read_last_checkpoint(run_path(b)).value();
    EXPECT_EQ(left.step, right.step);
    EXPECT_EQ(left.weights, right.weights);
    EXPECT_EQ(left.states, right.states);
    EXPECT_EQ(metrics(a), metrics(b));
  }

  TempFolder folder_;
  int runs_ = 0;
};

const Digests kGolden = {0x399116e1bb24187c, 0xa94bc8f5071059bd, 0x7c0f497505f558de, 0x8512e3113a7513b6,
                         0x2cdc79503fd12f68};
const Digests kOtherGolden = {0x4dfb8db7c5193099, 0x1eb62fa804320884, 0x6c5d558a0663024b, 0xc32b14680cd7fa2b,
                              0x1385a90fe0b1aee7};

TEST_F(TrainerTest, GoldenDigestsOnEveryBackend) {
  for (const BackendEntry& entry : list_backends()) {
    if (!entry.unavailable.empty() || entry.kind == BackendKind::kNull) continue;
    for (const int threads : {1, 2}) {
      SCOPED_TRACE(entry.name + ", threads " + std::to_string(threads));
      RunConfig a = config(), b = other_config();
      a.backend = b.backend = entry.name;
      a.threads = b.threads = threads;
      EXPECT_EQ(digests_of(a), kGolden);
      EXPECT_EQ(digests_of(b), kOtherGolden);
    }
  }
}

TEST_F(TrainerTest, GoldenDigestsOfTransformersOnEveryBackend) {
  for (const BackendEntry& entry : list_backends()) {
    if (!entry.unavailable.empty() || entry.kind == BackendKind::kNull) continue;
    SCOPED_TRACE(entry.name);
    RunConfig c = config();
    c.arch = "transformer", c.dim = 64, c.layers = 2, c.window = 10, c.steps = 3;
    c.backend = entry.name, c.threads = 2;
    EXPECT_EQ(digests_of(c), (Digests{0xd427662a1c996235, 0x07f92c8e81723399, 0x737acb616f1d4f89}));
    c.carry = "reset";
    EXPECT_EQ(digests_of(c), (Digests{0xd427662a1c996235, 0x2cd9475b82de469f, 0xd35c438dc4cbe518}));
  }
}

TEST_F(TrainerTest, GoldenDigestsOfOtherPopulationsAndNoises) {
  RunConfig base = config();
  base.valid_fraction = "0";
  RunConfig pair = base;
  pair.population = 2, pair.noise_reuse = 0;
  EXPECT_EQ(digests_of(pair), (Digests{0x243bd46f16778f70, 0x207bf0dfc778e247, 0x243bd46f16778f70,
                                       0x25561e1c96688664, 0x33617e990db58ae3}));
  RunConfig shared = base;
  shared.population = 6, shared.group_size = 6, shared.noise_reuse = 3;
  EXPECT_EQ(digests_of(shared), (Digests{0x3f9ec6fb598c8df9, 0x8897b3cbe40c44e5, 0x16741b6b1888a19c,
                                         0xea5c3ae303a56847, 0x2b664d767999c4d3}));
  RunConfig grouped = base;
  grouped.population = 12, grouped.group_size = 6, grouped.fitness = "grouped";
  EXPECT_EQ(digests_of(grouped), (Digests{0xad45d5879c755591, 0x5a395686e9a3fb29, 0xc3da9b7ab98be93d,
                                          0x1cc59bbaf762de53, 0x05d51ec6cf0a043b}));
  RunConfig decaying = base;  // alpha 1, decaying by a half per step
  decaying.population = 6, decaying.noise_reuse = 0, decaying.fitness = "scaled", decaying.alpha = "1",
  decaying.alpha_decay = "0.5";
  EXPECT_EQ(digests_of(decaying), (Digests{0x9f33d7f589010f9b, 0xd4b79a834bef54a9, 0x34b7a250e10b0bbf,
                                           0x4a46f7a5ef5c5c9c, 0xe5d71c6316cf4def}));
}

// Each knob that has a meaning changes the run.
TEST_F(TrainerTest, KnobsOfMeaningMatter) {
  const std::function<void(RunConfig&)> changes[] = {
      [](RunConfig&) {},
      [](RunConfig& c) { c.seed = 2; },
      [](RunConfig& c) { c.dialect = "egg.c"; },
      [](RunConfig& c) { c.activation = "relu"; },
      [](RunConfig& c) { c.group_size = 4; },
      [](RunConfig& c) { c.texts_per_pair = 2; },
      [](RunConfig& c) { c.texts_per_pair = 2, c.fitness = "scaled"; },
      [](RunConfig& c) { c.texts_per_pair = 2, c.group_size = 4; },
      [](RunConfig& c) { c.noise_reuse = 0; },
      [](RunConfig& c) { c.noise_reuse = 2; },
      [](RunConfig& c) { c.rank = 2; },
      [](RunConfig& c) { c.sigma_shift = 3; },
      [](RunConfig& c) { c.tokens_per_update = 17; },
      [](RunConfig& c) { c.alpha = "0.4"; },
      [](RunConfig& c) { c.alpha_decay = "0.9"; },
      [](RunConfig& c) { c.fitness = "scaled"; },
      [](RunConfig& c) { c.fitness = "grouped", c.group_size = 4; },
      [](RunConfig& c) { c.fitness = "scaled", c.group_size = 4; },
      [](RunConfig& c) { c.population = 10; },
      [](RunConfig& c) { c.valid_fraction = "0.1"; },
  };
  Digests last;
  for (const auto& change : changes) {
    RunConfig c = config();
    c.backend = "cpu", c.steps = 4;
    change(c);
    last.push_back(digests_of(c).back());
  }
  std::sort(last.begin(), last.end());
  EXPECT_EQ(std::unique(last.begin(), last.end()), last.end());
}

TEST_F(TrainerTest, ValidationSamplesAndCheckpointsChangeNothing) {
  RunConfig c = config();
  c.validate_every = 2, c.sample_every = 1, c.checkpoint_every = 2, c.keep = 9;
  Watcher watcher;
  create("busy", c, watcher);
  EXPECT_EQ(watcher.digests(), kGolden);
  EXPECT_EQ(watcher.samples.size(), 5u);
  EXPECT_EQ(watcher.checkpoints, (std::vector<std::uint64_t>{2, 4, 5}));
  for (const StepReport& report : watcher.reports) {
    EXPECT_EQ(report.valid_bits_per_byte.has_value(), report.step % 2 == 0 || report.step == 5)
        << report.step;
  }
}

TEST_F(TrainerTest, ReportsWhatHappened) {
  Watcher watcher;
  RunConfig c = config();
  c.validate_every = 5;
  create("run", c, watcher);
  // Sums of losses and moved weights by tests/second/clutch2.py.
  const double losses[] = {1210639791, 1174489895, 1220264920, 1218299448, 1166817816};
  const double moved[] = {2242, 2148, 2251, 2340, 2277};
  const double parameters = 2 * 256 * 8 + 4 * 64 + 2 * 4 * 64 + 5 * 8;
  ASSERT_EQ(watcher.reports.size(), 5u);
  for (int i = 0; i < 5; ++i) {
    const StepReport& report = watcher.reports[i];
    EXPECT_EQ(report.step, i + 1u);
    EXPECT_EQ(report.evaluated_tokens, (i + 1u) * 8 * 16);
    EXPECT_DOUBLE_EQ(report.bits_per_byte, losses[i] / (1 << 20) / (8 * 16));
    EXPECT_DOUBLE_EQ(report.moved, moved[i] / parameters);
    EXPECT_EQ(report.tied, 0);
  }
  // Held out are the last 200 bytes: 64 streams of 3 tokens. The weights are those of the checkpoint.
  const Model model = load_model(run_path("run")).value();
  auto backend = make_backend("reference", 1).value();
  ASSERT_TRUE(backend->load(model.program, {}, model.weights).ok());
  const std::string all = make_stories(4000, 7);
  const Corpus held_out = make_corpus(std::vector<Token>(all.end() - 200, all.end()), 256);
  const TextLoss loss = evaluate_text(*backend, held_out, 64, 131072 / 64).value();
  EXPECT_EQ(loss.tokens, 64u * 3);
  EXPECT_EQ(watcher.reports.back().valid_bits_per_byte, loss.bits_per_token());

  // metrics.jsonl says the same.
  std::ifstream file(metrics_path(run_path("run")));
  for (const StepReport& report : watcher.reports) {
    std::string line;
    ASSERT_TRUE(std::getline(file, line));
    const auto json = nlohmann::json::parse(line);
    EXPECT_EQ(json["step"], report.step);
    EXPECT_EQ(json["evaluated_tokens"], report.evaluated_tokens);
    EXPECT_NEAR(json["bits_per_byte"], report.bits_per_byte, 6e-6);
    EXPECT_NEAR(json["moved"], report.moved, 6e-7);
    EXPECT_EQ(std::stoull(json["digest"].get<std::string>(), nullptr, 16), report.digest);
    EXPECT_EQ(json.contains("valid_bits_per_byte"), report.valid_bits_per_byte.has_value());
  }
}

TEST_F(TrainerTest, ResumeInTheMiddleEqualsUndisturbed) {
  for (const bool other : {false, true}) {
    const RunConfig c = other ? other_config() : config();
    const std::string whole = other ? "whole2" : "whole1", parts = other ? "parts2" : "parts1";
    Watcher undisturbed, first, second;
    create(whole, c, undisturbed);
    RunConfig shorter = c;
    shorter.steps = 3;
    create(parts, shorter, first);
    EXPECT_EQ(read_last_checkpoint(run_path(parts)).value().step, 3u);
    RunConfig longer = read_config(run_path(parts)).value();
    longer.steps = 5;
    resume(parts, longer, second);
    EXPECT_EQ(second.reports.front().step, 4u);
    EXPECT_EQ(second.reports.back().evaluated_tokens, undisturbed.reports.back().evaluated_tokens);
    expect_same_end(whole, parts);
    EXPECT_EQ(read_config(run_path(parts)).value().steps, 5);
  }
}

TEST_F(TrainerTest, StopsWhenToldToAndGoesOn) {
  Watcher undisturbed, first, second;
  create("whole", config(), undisturbed);
  first.stop_after = 2;
  create("parts", config(), first);
  EXPECT_EQ(first.reports.size(), 2u);
  EXPECT_EQ(first.checkpoints, (std::vector<std::uint64_t>{2}));
  resume("parts", read_config(run_path("parts")).value(), second);
  EXPECT_EQ(second.reports.size(), 3u);
  expect_same_end("whole", "parts");
}

TEST_F(TrainerTest, StoppedBeforeTheFirstStepItSavesTheStart) {
  Watcher watcher, rest;
  watcher.stop = true;
  create("run", config(), watcher);
  EXPECT_TRUE(watcher.reports.empty());
  const Checkpoint start = read_last_checkpoint(run_path("run")).value();
  EXPECT_EQ(start.step, 0u);
  EXPECT_EQ(start.weights, initial_weights(load_model(run_path("run")).value().program, 1));
  resume("run", config(), rest);
  EXPECT_EQ(rest.digests(), kGolden);
}

// A crash: steps after the last checkpoint are in the metrics, the last line half written.
TEST_F(TrainerTest, ResumeAfterACrashDoesTheLostStepsAgain) {
  Watcher undisturbed, first, second;
  RunConfig c = config();
  c.checkpoint_every = 2;
  create("whole", c, undisturbed);
  create("crashed", c, first);
  fs::remove(run_path("crashed") + "/checkpoints/step-00000005.safetensors");
  fs::remove(run_path("crashed") + "/checkpoints/step-00000004.safetensors");
  std::ofstream(metrics_path(run_path("crashed")), std::ios::app) << "{\"step\": 6, \"evalu";
  resume("crashed", c, second);
  EXPECT_EQ(second.reports.front().step, 3u);
  expect_same_end("whole", "crashed");
  EXPECT_EQ(metrics("crashed").size(), 5u);

  // Before the first checkpoint there is only the config: the run begins anew.
  Watcher third;
  fs::remove_all(run_path("crashed") + "/checkpoints");
  resume("crashed", c, third);
  EXPECT_EQ(third.digests(), kGolden);
  expect_same_end("whole", "crashed");
}

TEST_F(TrainerTest, ResumeOnAnotherBackendAndThreads) {
  for (const auto& [from, to] : {std::pair{"reference", "cpu"}, {"cpu", "reference"}}) {
    const std::string name = std::string("from_") + from;
    Watcher first, second;
    RunConfig c = other_config();
    c.backend = from, c.steps = 2;
    create(name, c, first);
    c.backend = to, c.steps = 5, c.threads = 2;
    resume(name, c, second);
    Digests all = first.digests(), rest = second.digests();
    all.insert(all.end(), rest.begin(), rest.end());
    EXPECT_EQ(all, kOtherGolden) << name;
  }
}

TEST_F(TrainerTest, ResumeOfAFinishedRunDoesNothing) {
  Watcher first, second;
  create("run", config(), first);
  const Checkpoint before = read_last_checkpoint(run_path("run")).value();
  resume("run", config(), second);
  EXPECT_TRUE(second.reports.empty());
  EXPECT_TRUE(second.checkpoints.empty());
  EXPECT_EQ(read_last_checkpoint(run_path("run")).value().weights, before.weights);
  EXPECT_EQ(metrics("run").size(), 5u);
}

TEST_F(TrainerTest, ResumeRefusesAnotherText) {
  Watcher watcher;
  create("run", config(), watcher);
  std::ofstream(text(), std::ios::binary) << make_stories(4000, 8);
  const auto trainer = Trainer::resume(run_path("run"), config(), alone);
  ASSERT_FALSE(trainer.ok());
  EXPECT_EQ(trainer.status().message().find("--data: the text has digest "), 0u)
      << trainer.status().message();
  EXPECT_EQ(metrics("run").size(), 5u) << "the run is as it was";
}

TEST_F(TrainerTest, ResumeRefusesStatesOfAnotherPopulation) {
  Watcher watcher;
  create("run", config(), watcher);
  RunConfig c = config();
  c.population = 10;
  const auto trainer = Trainer::resume(run_path("run"), c, alone);
  ASSERT_FALSE(trainer.ok());
  EXPECT_NE(trainer.status().message().find("member states are damaged: 64 values, not 80"),
            std::string::npos)
      << trainer.status().message();
}

TEST_F(TrainerTest, AnExistingFolderIsRefusedAndUntouched) {
  Watcher watcher;
  create("run", config(), watcher);
  const auto snapshot = [&] {
    std::vector<std::string> all;
    for (const auto& entry : fs::recursive_directory_iterator(run_path("run"))) {
      all.push_back(entry.path().string() +
                    (entry.is_regular_file() ? read_file(entry.path().string(), 1 << 24).value() : ""));
    }
    std::sort(all.begin(), all.end());
    return all;
  };
  const auto before = snapshot();
  RunConfig c = config();
  c.seed = 3;
  const auto trainer = Trainer::create(run_path("run"), c, alone);
  ASSERT_FALSE(trainer.ok());
  EXPECT_EQ(trainer.status().message().find(run_path("run") + ": exists already; choose another --out"), 0u);
  EXPECT_EQ(snapshot(), before);
}

TEST_F(TrainerTest, InitStartsFromAModelOfItsOwnArchitecture) {
  Watcher first, second, third;
  RunConfig source = other_config();
  source.steps = 0;  // the initial weights of seed 99, saved
  create("source", source, first);
  ASSERT_EQ(first.checkpoints, (std::vector<std::uint64_t>{0}));
  RunConfig c = other_config();
  c.init = run_path("source"), c.dim = 64, c.layers = 1, c.dialect = "nano-egg", c.activation = "none";
  create("from_initial", c, second);
  EXPECT_EQ(second.digests(), kOtherGolden) << "the model brings its architecture, the seed the noise";
  EXPECT_EQ(read_config(run_path("from_initial")).value().dim, 6);

  // From trained weights, the start is saved at once, so that a crash before the first checkpoint loses
  // nothing.
  RunConfig d = config();
  d.init = run_path("from_initial"), d.steps = 1, d.keep = 2;
  create("from_trained", d, third);
  EXPECT_TRUE(fs::exists(run_path("from_trained") + "/checkpoints/step-00000000.safetensors"));
  EXPECT_EQ(load_model(run_path("from_trained") + "/checkpoints/step-00000000.safetensors").value().weights,
            load_model(run_path("from_initial")).value().weights);
  fs::remove_all(run_path("source"));  // a resume does not need the model again
  fs::remove_all(run_path("from_initial"));
  Watcher fourth;
  RunConfig longer = read_config(run_path("from_trained")).value();
  longer.steps = 2;
  resume("from_trained", longer, fourth);
  EXPECT_EQ(fourth.reports.size(), 1u);
}

TEST_F(TrainerTest, RefusalsComeBeforeTheFolder) {
  const auto with = [&](const std::function<void(RunConfig&)>& change) {
    RunConfig c = config();
    change(c);
    return refusal(c);
  };
  const std::string short_text = folder_ / "short";
  std::ofstream(short_text.c_str()) << "thirty bytes of text, not more";
  const auto begins = [](const std::string& message, const std::string& start) {
    EXPECT_EQ(message.substr(0, start.size()), start);
  };
  begins(with([](RunConfig& c) { c.vocab = 1; }), "--vocab: 1 is outside 2..65536");
  begins(with([](RunConfig& c) { c.vocab = 65537; }), "--vocab: 65537 is outside 2..65536");
  begins(with([](RunConfig& c) { c.dim = 0; }), "--dim: 0 is outside");
  begins(with([](RunConfig& c) { c.arch = "gpt"; }), "--arch: 'gpt' is unknown");
  begins(with([](RunConfig& c) { c.backend = "gpu"; }),
         "--backend: 'gpu' is unknown; choose from: null, reference, cpu:scalar");
  begins(with([](RunConfig& c) { c.population = 7; }), "--population: 7 is not an even number");
  begins(with([&](RunConfig& c) { c.data = {text() + "2"}; }), text() + "2: cannot open it");
  begins(with([&](RunConfig& c) { c.init = text() + "2"; }), text() + "2: cannot open it");
  begins(with([&](RunConfig& c) { c.valid = text() + "2"; }), text() + "2: cannot open it");
  begins(with([](RunConfig& c) { c.vocab = 100; }), text());  // names the file with a token that is too large
  begins(with([&](RunConfig& c) { c.data = {short_text}; }), "--valid-fraction: 0.05 of the 30 tokens");
  begins(with([](RunConfig& c) { c.tokens_per_update = 3800; }),
         "--data: 3800 tokens to train on are too short");
  begins(with([](RunConfig& c) { c.rank = 64, c.sigma_shift = 0, c.dim = 472; }),
         "%14 layer0.down[472] = matmul");
}

// A text as long as a window: every stream wraps, and the last token is followed by the first.
TEST_F(TrainerTest, TheShortestTextTrains) {
  std::ofstream(text(), std::ios::binary) << "a few words and";
  RunConfig c = config();
  c.valid_fraction = "0", c.tokens_per_update = 14, c.population = 6, c.steps = 3;
  const Digests reference = digests_of(c);
  c.backend = "cpu", c.threads = 2;
  EXPECT_EQ(digests_of(c), reference);
  c.tokens_per_update = 15;
  EXPECT_NE(refusal(c), "accepted");
}

TEST_F(TrainerTest, ValidTextOfItsOwn) {
  const std::string held_out = folder_ / "held_out";
  std::ofstream(held_out, std::ios::binary) << make_stories(700, 9);
  RunConfig c = config();
  c.valid = held_out;
  auto trainer = Trainer::create(run_path("run"), c, alone);
  ASSERT_TRUE(trainer.ok()) << trainer.status().message();
  EXPECT_EQ(trainer.value()->corpus().tokens.size(), 4000u);
  EXPECT_EQ(trainer.value()->held_out().tokens.size(), 700u);
  std::ofstream(held_out, std::ios::binary) << "x";
  EXPECT_EQ(refusal(c), "--valid: holds a single token; hold out more text");
}

}  // namespace
}  // namespace clutch
