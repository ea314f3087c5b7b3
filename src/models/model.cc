#include "models/model.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "exact/loss.h"
#include "exact/version.h"
#include "models/egg.h"
#include "models/transformer.h"

namespace clutch {
namespace {

constexpr std::int64_t kMaxDim = 1 << 16, kMaxLayers = 1024;

Result<const Architecture*> find_architecture(const std::string& name) {
  std::vector<std::string> names;
  for (const Architecture& architecture : architectures()) {
    if (architecture.name == name) return &architecture;
    names.push_back(architecture.name);
  }
  return fail("--arch", fmt::format("'{}' is unknown", name),
              fmt::format("choose from: {}", fmt::join(names, ", ")));
}

// The config our own files carry.
Result<ModelConfig> config_from_metadata(const std::map<std::string, std::string>& metadata,
                                         const std::string& file_name) {
  ModelConfig config;
  const auto text = [&](const char* key, std::string& out) {
    const auto found = metadata.find(key);
    if (found != metadata.end()) out = found->second;
    return found != metadata.end();
  };
  const auto number = [&](const char* key, std::int64_t& out) {
    std::string value;
    const auto parsed = text(key, value) ? parse_integer(value) : std::nullopt;
    if (parsed) out = *parsed;
    return parsed.has_value();
  };
  if (!text("arch", config.arch) || !number("dim", config.dim) || !number("layers", config.layers) ||
      !number("vocab", config.vocab) || !text("dialect", config.dialect) ||
      !text("activation", config.activation)) {
    return fail(file_name, "its metadata lack one of arch, dim, layers, vocab, dialect, activation",
                "use a checkpoint as clutch wrote it");
  }
  if (!has_window(config.arch)) return config;
  if (!number("window", config.window)) {
    return fail(file_name, "its metadata lack window", "use a checkpoint as clutch wrote it");
  }
  return config;
}

Result<ModelConfig> infer(const SafetensorsFile& file, const std::string& file_name) {
  std::vector<std::string> missing;
  for (const Architecture& architecture : architectures()) {
    if (auto config = architecture.infer(file)) return *config;
    missing.push_back(architecture.recognised_by);
  }
  return fail(
      file_name, fmt::format("holds no tensors {}", fmt::join(missing, ", nor ")),
      "docs/FORMATS.md lists each architecture's tensors; tools/nano_egg_to_safetensors.py writes egg's");
}

std::vector<std::int64_t> file_shape(const TensorSpec& tensor, std::int64_t layers) {
  std::vector<std::int64_t> shape;
  if (tensor.layer != TensorSpec::kUnstacked) shape.push_back(layers);
  shape.push_back(tensor.rows);
  if (tensor.kind == TensorKind::kMatrix) shape.push_back(tensor.cols);
  return shape;
}

std::int64_t layers_of(const Program& program, const std::string& name) {
  return std::count_if(program.tensors.begin(), program.tensors.end(),
                       [&](const TensorSpec& tensor) { return tensor.name == name; });
}

// The values, of type T, of a file's tensor that belong to one tensor of a program.
template <class T>
Result<std::vector<T>> slice(const Tensor& tensor, const TensorSpec& spec, std::int64_t layers,
                             const std::string& file_name) {
  const auto shape = file_shape(spec, layers);
  if (bytes_of(tensor.type) != static_cast<std::int64_t>(sizeof(T))) {
    return fail(file_name,
                fmt::format("tensor '{}' is of int{}, not int{}", tensor.name, 8 * bytes_of(tensor.type),
                            8 * sizeof(T)),
                "it is of another kind of model");
  }
  if (tensor.shape != shape) {
    return fail(file_name, fmt::format("tensor '{}' has shape {}, not {}", tensor.name, tensor.shape, shape),
                "it is of another model, or its dimensions are transposed (matrices are [out][in])");
  }
  const std::int64_t first = spec.layer == TensorSpec::kUnstacked ? 0 : spec.layer * spec.size();
  std::vector<T> values(static_cast<std::size_t>(spec.size()));
  // Files and this machine are little-endian alike.
  std::memcpy(values.data(), tensor.data.data() + first * static_cast<std::int64_t>(sizeof(T)),
              values.size() * sizeof(T));
  return values;
}

Result<std::vector<std::int8_t>> slice_weights(const Tensor& tensor, const TensorSpec& spec,
                                               std::int64_t layers, const std::string& file_name) {
  auto values = slice<std::int8_t>(tensor, spec, layers, file_name);
  if (values.ok() &&
      std::find(values.value().begin(), values.value().end(), std::int8_t{-128}) != values.value().end()) {
    return fail(file_name, fmt::format("tensor '{}' holds -128", tensor.name),
                "clip its weights to [-127, 127]");
  }
  return values;
}

// Values that lie as weights do, layers of one name stacked.
template <class T>
std::vector<Tensor> stack(const Program& program, const std::vector<std::vector<T>>& values,
                          const std::string& suffix, ElementType type) {
  std::vector<Tensor> tensors;
  for (std::size_t t = 0; t < program.tensors.size(); ++t) {
    const TensorSpec& spec = program.tensors[t];
    const std::string name = spec.name + suffix;
    auto stacked =
        std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& x) { return x.name == name; });
    if (stacked == tensors.end()) {
      tensors.push_back({name, file_shape(spec, layers_of(program, spec.name)), {}, type});
      stacked = tensors.end() - 1;
    }
    const auto* bytes = reinterpret_cast<const std::int8_t*>(values[t].data());
    stacked->data.insert(stacked->data.end(), bytes, bytes + values[t].size() * sizeof(T));
  }
  return tensors;
}

Status check_version(const std::map<std::string, std::string>& metadata, const std::string& file_name) {
  const auto found = metadata.find("semantic_version");
  if (found == metadata.end() || found->second == std::to_string(exact::kSemanticVersion)) return {};
  return fail(file_name,
              fmt::format("was written under semantic version {}, this is {}", found->second,
                          exact::kSemanticVersion),
              "use the clutch that wrote it");
}

}  // namespace

const std::vector<Architecture>& architectures() {
  static const std::vector<Architecture> list = {
      {"egg", "minGRU-like recurrent network of EGGROLL (arXiv 2511.16652)", false,
       "'emb' [V][D] and 'blocks.ln1.weight' [L][D]", check_egg, build_egg, infer_egg},
      {"transformer", "int8 transformer with rotary positions and a key/value cache", true,
       "'embed.weight' [V][D] and 'blocks.att.Wq' [L][D][D]", check_transformer, build_transformer,
       infer_transformer},
  };
  return list;
}

bool has_window(const std::string& arch) {
  const auto& list = architectures();
  return std::any_of(list.begin(), list.end(),
                     [&](const Architecture& one) { return one.name == arch && one.windowed; });
}

Status check_choice(const char* flag, const std::string& value, std::initializer_list<const char*> choices) {
  for (const char* choice : choices) {
    if (value == choice) return {};
  }
  return fail(flag, fmt::format("'{}' is unknown", value),
              fmt::format("choose from: {}", fmt::join(choices, ", ")));
}

Status check_range(const char* flag, std::int64_t value, std::int64_t low, std::int64_t high,
                   const char* hint) {
  if (value >= low && value <= high) return {};
  return fail(flag, fmt::format("{} is outside {}..{}", value, low, high), hint);
}

Result<Program> build_program(const ModelConfig& config, const NoiseShape& noise) {
  auto architecture = find_architecture(config.arch);
  if (!architecture.ok()) return architecture.status();
  CLUTCH_RETURN_IF_ERROR(check_range("--dim", config.dim, 1, kMaxDim));
  CLUTCH_RETURN_IF_ERROR(check_range("--layers", config.layers, 1, kMaxLayers));
  CLUTCH_RETURN_IF_ERROR(check_range("--vocab", config.vocab, 2, exact::kMaxVocab));
  CLUTCH_RETURN_IF_ERROR(architecture.value()->check(config));
  Program program = architecture.value()->build(config);
  auto bounds = verify(program, noise);
  if (!bounds.ok()) return bounds.status();
  return program;
}

std::optional<std::int64_t> parse_integer(const std::string& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

const Tensor* find_tensor(const SafetensorsFile& file, const char* name, std::size_t dimensions) {
  const auto found = std::find_if(file.tensors.begin(), file.tensors.end(), [&](const Tensor& tensor) {
    return tensor.name == name && tensor.shape.size() == dimensions;
  });
  return found == file.tensors.end() ? nullptr : &*found;
}

std::map<std::string, std::string> to_metadata(const ModelConfig& config) {
  std::map<std::string, std::string> metadata = {
      {"arch", config.arch},
      {"dim", std::to_string(config.dim)},
      {"layers", std::to_string(config.layers)},
      {"vocab", std::to_string(config.vocab)},
      {"dialect", config.dialect},
      {"activation", config.activation},
      {"semantic_version", std::to_string(exact::kSemanticVersion)}};
  if (has_window(config.arch)) metadata["window"] = std::to_string(config.window);
  return metadata;
}

std::vector<Tensor> to_tensors(const Program& program, const Weights& weights) {
  return stack(program, weights, "", ElementType::kInt8);
}

std::vector<Tensor> to_tensors(const Program& program, const Words& words, std::string_view suffix) {
  return stack(program, words, "." + std::string(suffix), ElementType::kInt32);
}

Result<Words> to_words(const SafetensorsFile& file, const Program& program, std::string_view suffix,
                       std::int32_t least, std::int32_t most, const std::string& file_name) {
  Words words;
  for (const TensorSpec& spec : program.tensors) {
    const std::string name = fmt::format("{}.{}", spec.name, suffix);
    const auto found = std::find_if(file.tensors.begin(), file.tensors.end(),
                                    [&](const Tensor& tensor) { return tensor.name == name; });
    const char* way_out =
        "remove the file to go on from the checkpoint before, or start a new run with --init";
    if (found == file.tensors.end()) {
      return fail(file_name, fmt::format("tensor '{}', which the rule remembers, is missing", name), way_out);
    }
    auto values = slice<std::int32_t>(*found, spec, layers_of(program, spec.name), file_name);
    if (!values.ok()) return values.status();
    for (const std::int32_t value : values.value()) {
      if (value < least || value > most) {
        return fail(file_name, fmt::format("tensor '{}' holds {}, beyond {}..{}", name, value, least, most),
                    way_out);
      }
    }
    words.push_back(std::move(values).value());
  }
  return words;
}

Result<Model> to_model(const SafetensorsFile& file, const std::string& file_name) {
  CLUTCH_RETURN_IF_ERROR(check_version(file.metadata, file_name));
  const bool ours = file.metadata.contains("semantic_version");
  auto config = ours ? config_from_metadata(file.metadata, file_name) : infer(file, file_name);
  if (!config.ok()) return config.status();
  auto program = build_program(config.value(), NoiseShape());
  if (!program.ok()) {
    return fail(file_name, "holds no possible model: " + program.status().message(), "use another file");
  }
  Model model{config.value(), std::move(program).value(), {}};
  for (const TensorSpec& spec : model.program.tensors) {
    const auto found = std::find_if(file.tensors.begin(), file.tensors.end(),
                                    [&](const Tensor& tensor) { return tensor.name == spec.name; });
    if (found == file.tensors.end()) {
      return fail(file_name, fmt::format("tensor '{}' is missing", spec.name), "use a complete model file");
    }
    auto values = slice_weights(*found, spec, layers_of(model.program, spec.name), file_name);
    if (!values.ok()) return values.status();
    model.weights.push_back(std::move(values).value());
  }
  const auto saved = file.metadata.find("weights_digest");
  const std::string actual = fmt::format("{:016x}", digest(model.program, model.weights));
  if (saved != file.metadata.end() && saved->second != actual) {
    return fail(
        file_name,
        fmt::format("its weights have digest {}, not the {} they were saved with", actual, saved->second),
        "the file is damaged; copy it again, or remove it to go on from the checkpoint before");
  }
  return model;
}

}  // namespace clutch
