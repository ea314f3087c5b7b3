#include "models/transformer.h"

#include <fmt/format.h>

#include "exact/arithmetic.h"
#include "exact/attention.h"
#include "program/builder.h"

namespace clutch {
namespace {

constexpr int kGainOne = 16;   // 1.0 with 4 fractional bits
constexpr int kExpansion = 4;  // the MLP's inner width over D
constexpr std::int64_t kDefaultWindow = 256;

// What products over K inputs are divided by: at a width of 256 these are the shifts of egg.c. Queries, keys
// and values keep a bit more, as they are rescaled next; what is added to the residual is halved.
struct Divisors {
  explicit Divisors(std::int64_t inputs)
      : unit(16 * static_cast<std::int64_t>(exact::square_root_floor(inputs))) {}
  std::int64_t unit;
  std::int64_t finer() const { return exact::shift_floor(unit, 1); }
  std::int64_t coarser() const { return 2 * unit; }
};

// A norm with bias.
struct Norm {
  int weight, bias;
};
struct Mlp {
  Norm norm;
  int up, up_bias, down, down_bias;
};

// Writes the blocks of the program; `name` of a block leads the names of its slots, `stem` those of its
// tensors.
class Blocks {
 public:
  explicit Blocks(const ModelConfig& config)
      : b_("transformer", config.vocab, config.window),
        dim_(config.dim),
        narrow_(config.dim),
        wide_(kExpansion * config.dim) {}

  Norm add_norm(const std::string& stem, int layer) {
    return {b_.vector(stem + ".weight", layer, dim_, kGainOne), b_.vector(stem + ".bias", layer, dim_, 0)};
  }
  Mlp add_mlp(const std::string& norm, const std::string& stem, int layer) {
    const std::int64_t inner = kExpansion * dim_;
    return {.norm = add_norm(norm, layer),
            .up = b_.matrix(stem + ".0.weight", layer, inner, dim_),
            .up_bias = b_.vector(stem + ".0.bias", layer, inner, 0),
            .down = b_.matrix(stem + ".1.weight", layer, dim_, inner),
            .down_bias = b_.vector(stem + ".1.bias", layer, dim_, 0)};
  }
  int add_matrix(const char* name, int layer) { return b_.matrix(name, layer, dim_, dim_); }

  int norm(const std::string& name, int x, const Norm& norm) {
    const int scaled = b_.norm(name + ".scaled", x, norm.weight, exact::Rounding::kTruncate);
    return b_.bias(name, scaled, norm.bias);
  }
  int mlp(const std::string& name, int x, const Mlp& mlp) {
    const int n = norm(name + ".norm", x, mlp.norm);
    const int up =
        b_.bias(name + ".up", b_.matmul(name + ".up_product", n, mlp.up, narrow_.unit), mlp.up_bias);
    const int active = b_.gelu(name + ".gelu", up);
    const int down = b_.bias(
        name + ".down", b_.matmul(name + ".down_product", active, mlp.down, wide_.coarser()), mlp.down_bias);
    return b_.add_rescale(name, x, down);
  }

  // The cell of a layer: its tensors, then its instructions.
  int attention(const std::string& name, int layer, int x, const Norm& before) {
    const int wq = add_matrix("blocks.att.Wq", layer), wk = add_matrix("blocks.att.Wk", layer);
    const int wv = add_matrix("blocks.att.Wv", layer), wo = add_matrix("blocks.att.Wo", layer);
    const int n = norm(name + ".norm", x, before);
    const int q = b_.rotate(name + ".q", b_.matmul(name + ".q_product", n, wq, narrow_.finer()));
    const int k = b_.rotate(name + ".k", b_.matmul(name + ".k_product", n, wk, narrow_.finer()));
    const int v = b_.rescale(name + ".v", b_.matmul(name + ".v_product", n, wv, narrow_.finer()));
    const int seen = b_.attend(name + ".seen", q, k, v);
    return b_.add_rescale(name, x, b_.matmul(name + ".out", seen, wo, narrow_.coarser()));
  }

  Builder& builder() { return b_; }
  const Divisors& narrow() const { return narrow_; }

 private:
  Builder b_;
  const std::int64_t dim_;
  const Divisors narrow_, wide_;
};

}  // namespace

Status check_transformer(const ModelConfig& config) {
  if (config.dim % exact::kHeadWidth != 0) {
    return fail("--dim",
                fmt::format("{} is no multiple of {}, the width of a head", config.dim, exact::kHeadWidth),
                "choose 64, 128, 192, …");
  }
  CLUTCH_RETURN_IF_ERROR(
      check_range("--window", config.window, 1, exact::kMaxWindow,
                  "the table of rotary positions ends there; name a --window in that range"));
  CLUTCH_RETURN_IF_ERROR(check_choice("--dialect", config.dialect, {"nano-egg"}));
  return check_choice("--activation", config.activation, {"none"});
}

Program build_transformer(const ModelConfig& config) {
  constexpr int kOnce = TensorSpec::kUnstacked;
  Blocks blocks(config);
  Builder& b = blocks.builder();

  const int embedding = b.matrix("embed.weight", kOnce, config.vocab, config.dim);
  const int embedding_bias = b.vector("embed.bias", kOnce, config.dim, 0);
  int x = b.bias("embedded", b.embed("row", embedding), embedding_bias);
  x = blocks.mlp("first", x, blocks.add_mlp("first.ln", "first.mlp", kOnce));
  for (int l = 0; l < static_cast<int>(config.layers); ++l) {
    const Norm before = blocks.add_norm("blocks.ln1", l);
    x = blocks.attention(fmt::format("layer{}.att", l), l, x, before);
    x = blocks.mlp(fmt::format("layer{}.mlp", l), x, blocks.add_mlp("blocks.ln2", "blocks.mlp", l));
  }
  const Norm last = blocks.add_norm("ln_out", kOnce);
  const int n = blocks.norm("norm_out", x, last);
  return b.finish(b.matmul("logits", n, embedding, blocks.narrow().unit));
}

std::optional<ModelConfig> infer_transformer(const SafetensorsFile& file) {
  const Tensor* embedding = find_tensor(file, "embed.weight", 2);
  const Tensor* queries = find_tensor(file, "blocks.att.Wq", 3);
  if (embedding == nullptr || queries == nullptr) return std::nullopt;
  ModelConfig config;
  config.arch = "transformer";
  config.vocab = embedding->shape[0];
  config.dim = embedding->shape[1];
  config.layers = queries->shape[0];
  const auto window = file.metadata.find("window");
  config.window = window == file.metadata.end() ? kDefaultWindow : parse_integer(window->second).value_or(0);
  return config;
}

}  // namespace clutch
