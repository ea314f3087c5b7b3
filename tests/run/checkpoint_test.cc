// A run's folder: checkpoints that come back whole, damaged ones that are refused, and the cutting of
// metrics.
#include "run/checkpoint.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>

#include "base/files.h"
#include "base/safetensors.h"
#include "base/temp_folder.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;

const ModelConfig kConfig = {.dim = 5, .layers = 2, .vocab = 9, .dialect = "egg.c", .activation = "relu"};
constexpr std::int64_t kPopulation = 6;

Program program() { return build_program(kConfig, {}).value(); }

Checkpoint checkpoint_of(std::uint64_t step) {
  Checkpoint checkpoint{.step = step,
                        .corpus_digest = "0123456789abcdef",
                        .seconds = 12.5,
                        .core_seconds = 24.25,
                        .model_config = kConfig,
                        .weights = initial_weights(program(), step),
                        .states = {}};
  for (std::int64_t i = 0; i < kPopulation * program().state_width(); ++i) {
    checkpoint.states.push_back(static_cast<std::int8_t>(i * 11 % 255 - 127));
  }
  return checkpoint;
}

std::string write(const std::string& run, std::uint64_t step, std::int64_t keep = 3) {
  return write_checkpoint(run, program(), checkpoint_of(step), kPopulation, keep).message();
}

std::vector<std::string> names(const std::string& folder) {
  std::vector<std::string> list;
  for (const auto& entry : fs::directory_iterator(folder)) list.push_back(entry.path().filename().string());
  std::sort(list.begin(), list.end());
  return list;
}

TEST(Checkpoint, ComesBackWhole) {
  const TempFolder folder;
  const std::string run = folder / "run";
  EXPECT_FALSE(has_checkpoint(run));
  ASSERT_EQ(write(run, 42), "ok");
  EXPECT_TRUE(has_checkpoint(run));
  EXPECT_EQ(names(run + "/checkpoints"), (std::vector<std::string>{"step-00000042.safetensors"}));

  const auto read = read_last_checkpoint(run);
  ASSERT_TRUE(read.ok()) << read.status().message();
  const Checkpoint expected = checkpoint_of(42);
  EXPECT_EQ(read.value().step, 42u);
  EXPECT_EQ(read.value().corpus_digest, expected.corpus_digest);
  EXPECT_EQ(read.value().seconds, 12.5);
  EXPECT_EQ(read.value().core_seconds, 24.25);
  EXPECT_EQ(to_metadata(read.value().model_config), to_metadata(kConfig));
  EXPECT_EQ(read.value().weights, expected.weights);
  EXPECT_EQ(read.value().states, expected.states);
}

TEST(Checkpoint, KeepsTheLastFew) {
  const TempFolder folder;
  const std::string run = folder / "run", checkpoints = run + "/checkpoints";
  for (const std::uint64_t step : {0, 9, 10, 99, 100, 12345678}) ASSERT_EQ(write(run, step, 3), "ok");
  EXPECT_EQ(names(checkpoints),
            (std::vector<std::string>{"step-00000099.safetensors", "step-00000100.safetensors",
                                      "step-12345678.safetensors"}));
  EXPECT_EQ(read_last_checkpoint(run).value().step, 12345678u);

  std::ofstream(checkpoints + "/notes.txt") << "not ours";
  std::ofstream(checkpoints + "/step-99999999.safetensors.tmp-1") << "half a checkpoint";
  std::ofstream(checkpoints + "/step-999999999.safetensors") << "nine digits";
  std::ofstream(checkpoints + "/step-9999999x.safetensors") << "no number";
  ASSERT_EQ(write(run, 12345679, 1), "ok");
  EXPECT_EQ(
      names(checkpoints),
      (std::vector<std::string>{"notes.txt", "step-12345679.safetensors", "step-99999999.safetensors.tmp-1",
                                "step-999999999.safetensors", "step-9999999x.safetensors"}));
  EXPECT_EQ(read_last_checkpoint(run).value().step, 12345679u) << "what is no checkpoint is passed over";
}

TEST(Checkpoint, IsAModelForOthers) {
  const TempFolder folder;
  const std::string run = folder / "run", file = run + "/checkpoints/step-00000002.safetensors";
  ASSERT_EQ(write(run, 1), "ok");
  ASSERT_EQ(write(run, 2), "ok");
  EXPECT_EQ(model_file(run).value(), file);
  EXPECT_EQ(model_file(file).value(), file);
  EXPECT_EQ(model_file("anything else").value(), "anything else");
  for (const std::string& path : {run, file}) {
    EXPECT_EQ(load_model(path).value().weights, checkpoint_of(2).weights);
  }
  EXPECT_EQ(model_file(folder.path()).status().message(),
            folder.path() +
                ": holds no checkpoint in checkpoints/; name a run folder of `clutch train` or a "
                ".safetensors file");
  EXPECT_FALSE(load_model(folder / "nowhere").ok());
}

Tensor& find(SafetensorsFile& file, const std::string& name) {
  return *std::find_if(file.tensors.begin(), file.tensors.end(),
                       [&](const Tensor& t) { return t.name == name; });
}

// Writes a checkpoint, changes its file, and says what reading it says, without the file's name.
std::string message_after(const std::function<void(SafetensorsFile&)>& damage) {
  const TempFolder folder;
  const std::string run = folder / "run";
  EXPECT_EQ(write(run, 7), "ok");
  const std::string path = model_file(run).value();
  SafetensorsFile file = read_safetensors(path).value();
  damage(file);
  EXPECT_TRUE(write_safetensors(path, file).ok());
  const auto read = read_last_checkpoint(run);
  if (read.ok()) return "read";
  const std::string message = read.status().message();
  EXPECT_EQ(message.substr(0, path.size()), path);
  return message.substr(path.size() + 2);
}

TEST(Checkpoint, RefusesDamage) {
  EXPECT_EQ(message_after([](SafetensorsFile&) {}), "read");
  const struct {
    std::function<void(SafetensorsFile&)> damage;
    const char* message;
  } rows[] = {
      {[](SafetensorsFile& f) { find(f, "head").data[9] ^= 1; }, "its weights have digest "},
      {[](SafetensorsFile& f) { find(f, "ln_out.weight").data[4] ^= 64; }, "its weights have digest "},
      {[](SafetensorsFile& f) { f.metadata["weights_digest"] = "0000000000000000"; },
       "its weights have digest "},
      {[](SafetensorsFile& f) { find(f, "members.states").data[59] ^= 1; },
       "its member states or its step are not those"},
      {[](SafetensorsFile& f) { f.tensors.pop_back(); }, "tensor 'members.states' is missing"},
      {[](SafetensorsFile& f) { f.metadata.erase("states_digest"); },
       "its member states or its step are not those"},
      {[](SafetensorsFile& f) { f.metadata.erase("step"); }, "its metadata hold no number 'step'"},
      {[](SafetensorsFile& f) { f.metadata["step"] = "-1"; }, "its metadata hold no number 'step'"},
      {[](SafetensorsFile& f) { f.metadata["step"] = "7 "; }, "its metadata hold no number 'step'"},
      {[](SafetensorsFile& f) { f.metadata["step"] = "99999999999999999999"; },
       "its metadata hold no number 'step'"},
      {[](SafetensorsFile& f) { f.metadata["semantic_version"] = "0"; },
       "was written under semantic version 0, this is 1"},
      {[](SafetensorsFile& f) { f.tensors.erase(f.tensors.begin()); }, "tensor 'emb' is missing"},
  };
  for (const auto& row : rows) {
    const std::string message = message_after(row.damage);
    EXPECT_EQ(message.substr(0, std::string(row.message).size()), row.message);
  }
}

TEST(Checkpoint, RefusesATruncatedFile) {
  const TempFolder folder;
  const std::string run = folder / "run";
  ASSERT_EQ(write(run, 7), "ok");
  const std::string path = model_file(run).value();
  for (const int cut : {1, 200}) {
    fs::resize_file(path, fs::file_size(path) - cut);
    EXPECT_FALSE(read_last_checkpoint(run).ok());
  }
  fs::resize_file(path, 0);
  EXPECT_FALSE(read_last_checkpoint(run).ok());
}

TEST(RunFolder, IsMadeNewWithItsConfig) {
  const TempFolder folder;
  RunConfig config;
  config.dim = 99;
  for (const char* name : {"new", "deeply/nested", "empty"}) {
    if (std::string(name) == "empty") fs::create_directory(folder / name);
    EXPECT_EQ(create_run(folder / name, config).message(), "ok");
    EXPECT_EQ(to_json(read_config(folder / name).value()), to_json(config));
  }
  config.dim = 98;
  EXPECT_TRUE(write_config(folder / "new", config).ok());
  EXPECT_EQ(read_config(folder / "new").value().dim, 98);
  EXPECT_FALSE(read_config(folder / "nowhere").ok());
}

TEST(RunFolder, IsNeverOverwritten) {
  const TempFolder folder;
  const std::string run = folder / "run", file = folder / "file";
  fs::create_directory(run);
  std::ofstream(run + "/diary.txt") << "mine";
  std::ofstream(file.c_str()) << "mine too";
  for (const std::string& path : {run, file}) {
    const std::string message = create_run(path, {}).message();
    EXPECT_EQ(message,
              path + ": exists already; choose another --out, or go on with: clutch train --resume " + path);
  }
  EXPECT_EQ(names(run), (std::vector<std::string>{"diary.txt"}));
  EXPECT_EQ(read_file(file, 100).value(), "mine too");
}

TEST(Metrics, AreCutAfterAStep) {
  const TempFolder folder;
  const auto cut = [&](const std::string& text, std::uint64_t step) {
    std::ofstream(metrics_path(folder.path())) << text;
    EXPECT_TRUE(cut_metrics(folder.path(), step).ok());
    return read_file(metrics_path(folder.path()), 1000).value();
  };
  const std::string one = "{\"step\": 1, \"x\": 5}\n", two = "{\"x\": 5, \"step\": 2}\n",
                    three = "{\"step\": 3}\n";
  EXPECT_EQ(cut(one + two + three, 3), one + two + three);
  EXPECT_EQ(cut(one + two + three, 2), one + two);
  EXPECT_EQ(cut(one + two + three, 0), "");
  EXPECT_EQ(cut("", 5), "");
  EXPECT_EQ(cut(one + two + "{\"step\": 3", 9), one + two) << "cut short";
  EXPECT_EQ(cut(one + "{\"step\": 2}", 9), one) << "without its end of line";
  EXPECT_EQ(cut(one + "nonsense\n\n[1]\n{\"step\": -1}\n{\"step\": \"1\"}\n{}\n" + two, 9), one + two);
}

TEST(RunFolder, IsClearedOfTemporaries) {
  const TempFolder folder;
  fs::create_directory(folder / "checkpoints");
  for (const char* name : {"config.json", "config.json.tmp-12", "checkpoints/step-00000001.safetensors",
                           "checkpoints/step-00000002.safetensors.tmp-7"}) {
    std::ofstream((folder / name).c_str()) << "x";
  }
  remove_temporaries(folder.path());
  EXPECT_EQ(names(folder.path()), (std::vector<std::string>{"checkpoints", "config.json"}));
  EXPECT_EQ(names(folder / "checkpoints"), (std::vector<std::string>{"step-00000001.safetensors"}));
}

TEST(Metrics, MayBeAbsent) {
  const TempFolder folder;
  EXPECT_TRUE(cut_metrics(folder.path(), 3).ok());
  EXPECT_EQ(folder.entry_count(), 0);
}

}  // namespace
}  // namespace clutch
