// Architectures by name, and models as files. This is the only folder that knows an architecture: the rest of
// Clutch sees programs.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/safetensors.h"
#include "base/status.h"
#include "program/program.h"
#include "program/verify.h"

namespace clutch {

// Everything that decides a program.
struct ModelConfig {
  std::string arch = "egg";
  std::int64_t dim = 64;     // D, the width of the residual stream
  std::int64_t layers = 1;   // L
  std::int64_t vocab = 256;  // V
  // Whose arithmetic, for egg: "nano-egg" (norm divides rounding down, products are divided by 16·floor(sqrt
  // K)) or "egg.c" (norm truncates, products are shifted by 8, and by 9 for the 4D→D product).
  std::string dialect = "nano-egg";
  // Between the two MLP products, for egg: "none" or "relu".
  std::string activation = "none";
  std::int64_t window = 0;  // W, the positions an architecture with a cache can look back at; else 0
};

struct Architecture {
  const char* name;
  const char* summary;
  bool windowed;                         // has a window
  const char* recognised_by;             // the tensors that infer() looks for, for messages
  Status (*check)(const ModelConfig&);   // its own sizes and choices; fails naming the flag
  Program (*build)(const ModelConfig&);  // of a checked config
  // The config of a file that carries none, from its tensors' names and shapes; nothing where they are not
  // its own.
  std::optional<ModelConfig> (*infer)(const SafetensorsFile&);
};

// All architectures.
const std::vector<Architecture>& architectures();

// Whether an architecture of this name has a window.
bool has_window(const std::string& arch);

// Failures naming `flag` unless the value is one of the choices, or is in the range.
Status check_choice(const char* flag, const std::string& value, std::initializer_list<const char*> choices);
Status check_range(const char* flag, std::int64_t value, std::int64_t low, std::int64_t high,
                   const char* hint = "choose a size in that range");

// The program of a config; fails on an unknown name, an impossible size, or (via verify()) a program that
// could overflow.
Result<Program> build_program(const ModelConfig& config, const NoiseShape& noise);

struct Model {
  ModelConfig config;
  Program program;
  Weights weights;
};

// A number in metadata; nothing where it is not a plain decimal integer.
std::optional<std::int64_t> parse_integer(const std::string& text);

// The tensor of a file by its name, where it is there with so many dimensions; else null.
const Tensor* find_tensor(const SafetensorsFile& file, const char* name, std::size_t dimensions);

// Config -> string map with the keys arch, dim, layers, vocab, dialect, activation, and window where there is
// one.
std::map<std::string, std::string> to_metadata(const ModelConfig& config);

// A model as tensors for a file: layers of one name stacked [L]…, vectors [N], matrices [N][K].
std::vector<Tensor> to_tensors(const Program& program, const Weights& weights);

// The same of words that lie as the weights do, as int32 tensors "<weight tensor>.<suffix>"; and back, where
// a tensor that is missing, of another type or shape, or beyond [least, most] is refused by name.
std::vector<Tensor> to_tensors(const Program& program, const Words& words, std::string_view suffix);
Result<Words> to_words(const SafetensorsFile& file, const Program& program, std::string_view suffix,
                       std::int32_t least, std::int32_t most, const std::string& file_name);

// A model from a file: a checkpoint of ours (config in its metadata), or foreign weights whose names and
// shapes an architecture recognises. Fails, naming `file_name` and the tensor, where one is missing, of the
// wrong shape or holds -128; and where the file carries another semantic version. Tensors the program does
// not name are passed over.
Result<Model> to_model(const SafetensorsFile& file, const std::string& file_name);

}  // namespace clutch
