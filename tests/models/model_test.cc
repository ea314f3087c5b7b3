// Models as files: what comes back from our own metadata, what is recognised in foreign files, and everything
// that is refused.
#include "models/model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>

namespace clutch {
namespace {

const ModelConfig kConfig = {.dim = 4, .layers = 2, .vocab = 9, .dialect = "egg.c", .activation = "relu"};

SafetensorsFile file_of(const ModelConfig& config, std::uint64_t seed = 5) {
  const Program program = build_program(config, {}).value();
  return {to_tensors(program, initial_weights(program, seed)), to_metadata(config)};
}

Tensor& find(SafetensorsFile& file, const std::string& name) {
  return *std::find_if(file.tensors.begin(), file.tensors.end(),
                       [&](const Tensor& t) { return t.name == name; });
}

TEST(Model, FilesStackTheLayers) {
  const SafetensorsFile file = file_of(kConfig);
  using Shape = std::vector<std::int64_t>;
  const std::vector<std::pair<std::string, Shape>> expected = {
      {"emb", {9, 4}},
      {"blocks.ln1.weight", {2, 4}},
      {"blocks.att.Wf", {2, 4, 4}},
      {"blocks.att.Uf", {2, 4, 4}},
      {"blocks.att.bf", {2, 4}},
      {"blocks.att.Wh", {2, 4, 4}},
      {"blocks.att.Uh", {2, 4, 4}},
      {"blocks.att.bh", {2, 4}},
      {"blocks.ln2.weight", {2, 4}},
      {"blocks.mlp.0.weight", {2, 16, 4}},
      {"blocks.mlp.1.weight", {2, 4, 16}},
      {"ln_out.weight", {4}},
      {"head", {9, 4}},
  };
  ASSERT_EQ(file.tensors.size(), expected.size());
  for (std::size_t t = 0; t < expected.size(); ++t) {
    EXPECT_EQ(file.tensors[t].name, expected[t].first);
    EXPECT_EQ(file.tensors[t].shape, expected[t].second);
    EXPECT_EQ(static_cast<std::int64_t>(file.tensors[t].data.size()), element_count(expected[t].second));
  }
}

TEST(Model, RoundTripsThroughAFile) {
  for (const ModelConfig& config : {kConfig, ModelConfig{.dim = 3, .layers = 1, .vocab = 300}}) {
    const Program program = build_program(config, {}).value();
    SafetensorsFile file = file_of(config, 8);
    std::reverse(file.tensors.begin(), file.tensors.end());            // the order does not matter
    file.tensors.push_back({"members.states", {2, 2}, {1, 2, 3, 4}});  // passed over
    const auto model = to_model(file, "f");
    ASSERT_TRUE(model.ok()) << model.status().message();
    EXPECT_EQ(to_metadata(model.value().config), to_metadata(config));
    EXPECT_EQ(model.value().weights, initial_weights(program, 8));
    EXPECT_EQ(model.value().program.tensors.size(), program.tensors.size());
  }
}

TEST(Model, MetadataAreText) {
  const std::map<std::string, std::string> expected = {
      {"arch", "egg"},      {"dim", "4"},           {"layers", "2"},          {"vocab", "9"},
      {"dialect", "egg.c"}, {"activation", "relu"}, {"semantic_version", "1"}};
  EXPECT_EQ(to_metadata(kConfig), expected);
}

TEST(Model, RecognisesForeignWeights) {
  SafetensorsFile file = file_of(kConfig, 3);
  const Weights weights = to_model(file, "f").value().weights;
  struct Row {
    std::map<std::string, std::string> metadata;
    const char *dialect, *activation;
  };
  for (const Row& row : {Row{{}, "nano-egg", "none"},
                         Row{{{"activation", "relu"}, {"source", "nano-egg"}}, "nano-egg", "relu"},
                         Row{{{"dialect", "egg.c"}, {"dim", "77"}}, "egg.c", "none"}}) {
    file.metadata = row.metadata;
    const auto model = to_model(file, "f");
    ASSERT_TRUE(model.ok()) << model.status().message();
    const ModelConfig& config = model.value().config;
    EXPECT_EQ(config.arch, "egg");
    EXPECT_EQ(config.dim, 4);
    EXPECT_EQ(config.layers, 2);
    EXPECT_EQ(config.vocab, 9);
    EXPECT_EQ(config.dialect, row.dialect);
    EXPECT_EQ(config.activation, row.activation);
    EXPECT_EQ(model.value().weights, weights);
  }
}

TEST(Model, RefusesDamagedFiles) {
  const struct {
    const char* name;
    std::function<void(SafetensorsFile&)> damage;
    const char* message;
  } rows[] = {
      {"missing", [](SafetensorsFile& f) { f.tensors.erase(f.tensors.begin() + 5); },
       "f: tensor 'blocks.att.Wh' is missing"},
      {"renamed", [](SafetensorsFile& f) { find(f, "head").name = "Head"; }, "f: tensor 'head' is missing"},
      {"transposed",
       [](SafetensorsFile& f) {
         find(f, "head").shape = {4, 9};
       },
       "f: tensor 'head' has shape [4, 9], not [9, 4]"},
      {"unstacked", [](SafetensorsFile& f) { find(f, "blocks.ln1.weight").shape = {8}; },
       "f: tensor 'blocks.ln1.weight' has shape [8], not [2, 4]"},
      {"other layers",
       [](SafetensorsFile& f) {
         find(f, "blocks.att.Wf").shape = {4, 2, 4};
       },
       "f: tensor 'blocks.att.Wf' has shape [4, 2, 4], not [2, 4, 4]"},
      {"vector as a matrix",
       [](SafetensorsFile& f) {
         find(f, "ln_out.weight").shape = {4, 1};
       },
       "f: tensor 'ln_out.weight' has shape [4, 1], not [4]"},
      {"-128 first", [](SafetensorsFile& f) { find(f, "emb").data.front() = -128; },
       "f: tensor 'emb' holds -128"},
      {"-128 in the last layer",
       [](SafetensorsFile& f) { find(f, "blocks.mlp.1.weight").data.back() = -128; },
       "f: tensor 'blocks.mlp.1.weight' holds -128"},
      {"other version", [](SafetensorsFile& f) { f.metadata["semantic_version"] = "2"; },
       "f: was written under semantic version 2, this is 1"},
      {"odd version", [](SafetensorsFile& f) { f.metadata["semantic_version"] = ""; },
       "f: was written under semantic version , this is 1"},
      {"no dim", [](SafetensorsFile& f) { f.metadata.erase("dim"); },
       "f: its metadata lack one of arch, dim,"},
      {"no dialect", [](SafetensorsFile& f) { f.metadata.erase("dialect"); },
       "f: its metadata lack one of arch, dim,"},
      {"dim no number", [](SafetensorsFile& f) { f.metadata["dim"] = "4x"; },
       "f: its metadata lack one of arch, dim,"},
      {"dim overflows", [](SafetensorsFile& f) { f.metadata["dim"] = "99999999999999999999"; },
       "f: its metadata lack one of arch, dim,"},
      {"unknown arch", [](SafetensorsFile& f) { f.metadata["arch"] = "gpt"; },
       "f: holds no possible model: --arch: 'gpt' is unknown; choose from: egg"},
      {"dim 0", [](SafetensorsFile& f) { f.metadata["dim"] = "0"; },
       "f: holds no possible model: --dim: 0 is outside 1..65536"},
      {"other dim", [](SafetensorsFile& f) { f.metadata["dim"] = "5"; },
       "f: tensor 'emb' has shape [9, 4], not [9, 5]"},
      {"layers negative", [](SafetensorsFile& f) { f.metadata["layers"] = "-1"; },
       "f: holds no possible model: --layers: -1 is outside 1..1024"},
      {"foreign without emb", [](SafetensorsFile& f) { f.metadata.clear(), find(f, "emb").name = "embed"; },
       "f: holds no tensors 'emb' [V][D] and 'blocks.ln1.weight' [L][D]"},
      {"foreign with a flat emb", [](SafetensorsFile& f) { f.metadata.clear(), find(f, "emb").shape = {36}; },
       "f: holds no tensors 'emb' [V][D]"},
      {"foreign without ln1",
       [](SafetensorsFile& f) { f.metadata.clear(), f.tensors.erase(f.tensors.begin() + 1); },
       "f: holds no tensors 'emb' [V][D]"},
      {"foreign of an unknown activation",
       [](SafetensorsFile& f) {
         f.metadata = {{"activation", "gelu"}};
       },
       "f: holds no possible model: --activation: 'gelu' is unknown; choose from: none, relu"},
      {"foreign without a head", [](SafetensorsFile& f) { f.metadata.clear(), f.tensors.pop_back(); },
       "f: tensor 'head' is missing"},
      {"nothing at all", [](SafetensorsFile& f) { f = {}; }, "f: holds no tensors 'emb' [V][D]"},
  };
  for (const auto& row : rows) {
    SafetensorsFile file = file_of(kConfig);
    row.damage(file);
    const auto model = to_model(file, "f");
    const std::string message = model.ok() ? "accepted" : model.status().message();
    EXPECT_EQ(message.substr(0, std::string(row.message).size()), row.message) << row.name;
  }
}

TEST(BuildProgram, RefusesWhatItCannotBuild) {
  const struct {
    std::function<void(ModelConfig&)> change;
    const char* message;
  } rows[] = {
      {[](ModelConfig& c) { c.arch = "Egg"; }, "--arch: 'Egg' is unknown; choose from: egg"},
      {[](ModelConfig& c) { c.dim = 0; }, "--dim: 0 is outside 1..65536"},
      {[](ModelConfig& c) { c.dim = 65537; }, "--dim: 65537 is outside 1..65536"},
      {[](ModelConfig& c) { c.dim = 32768; }, "blocks.mlp.0.weight[0]: impossible shape [131072][32768]"},
      {[](ModelConfig& c) { c.layers = 0; }, "--layers: 0 is outside 1..1024"},
      {[](ModelConfig& c) { c.layers = 1025; }, "--layers: 1025 is outside 1..1024"},
      {[](ModelConfig& c) { c.vocab = 1; }, "--vocab: 1 is outside 2..65536"},
      {[](ModelConfig& c) { c.vocab = 65537; }, "--vocab: 65537 is outside 2..65536"},
      {[](ModelConfig& c) { c.dialect = "egg"; },
       "--dialect: 'egg' is unknown; choose from: nano-egg, egg.c"},
      {[](ModelConfig& c) { c.activation = ""; }, "--activation: '' is unknown; choose from: none, relu"},
  };
  for (const auto& row : rows) {
    ModelConfig config;
    row.change(config);
    const auto program = build_program(config, {});
    const std::string message = program.ok() ? "accepted" : program.status().message();
    EXPECT_EQ(message.substr(0, std::string(row.message).size()), row.message);
  }
  // By noise: the widest products are over 4D inputs.
  EXPECT_TRUE(build_program({.dim = 471}, {.rank = 64, .sigma_shift = 0}).ok());
  const auto wide = build_program({.dim = 472}, {.rank = 64, .sigma_shift = 0});
  ASSERT_FALSE(wide.ok());
  EXPECT_EQ(
      wide.status().message().find("%14 layer0.down[472] = matmul %13 blocks.mlp.1.weight[0] // 688: a sum"),
      0u)
      << wide.status().message();
  EXPECT_FALSE(build_program({}, {.rank = 65}).ok());
}

TEST(Architectures, AreListed) {
  ASSERT_EQ(architectures().size(), 2u);
  EXPECT_STREQ(architectures()[0].name, "egg");
  EXPECT_STREQ(architectures()[1].name, "transformer");
  EXPECT_TRUE(has_window("transformer") && !has_window("egg") && !has_window("gpt"));
}

}  // namespace
}  // namespace clutch
