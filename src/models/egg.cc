#include "models/egg.h"

#include <fmt/format.h>

#include "exact/arithmetic.h"
#include "program/builder.h"

namespace clutch {
namespace {

constexpr int kGainOne = 16;   // 1.0 with 4 fractional bits
constexpr int kExpansion = 4;  // the MLP's inner width over D

// What a product over K inputs is divided by.
std::int64_t product_divisor(const ModelConfig& config, std::int64_t inputs) {
  if (config.dialect == "egg.c") return inputs == kExpansion * config.dim ? 512 : 256;
  return 16 * static_cast<std::int64_t>(exact::square_root_floor(inputs));
}

struct Layer {
  int ln1, wf, uf, bf, wh, uh, bh, ln2, up, down;  // tensors
};

Layer add_tensors(Builder& b, int layer, std::int64_t dim) {
  const std::int64_t inner = kExpansion * dim;
  return {.ln1 = b.vector("blocks.ln1.weight", layer, dim, kGainOne),
          .wf = b.matrix("blocks.att.Wf", layer, dim, dim),
          .uf = b.matrix("blocks.att.Uf", layer, dim, dim),
          .bf = b.vector("blocks.att.bf", layer, dim, 0),
          .wh = b.matrix("blocks.att.Wh", layer, dim, dim),
          .uh = b.matrix("blocks.att.Uh", layer, dim, dim),
          .bh = b.vector("blocks.att.bh", layer, dim, 0),
          .ln2 = b.vector("blocks.ln2.weight", layer, dim, kGainOne),
          .up = b.matrix("blocks.mlp.0.weight", layer, inner, dim),
          .down = b.matrix("blocks.mlp.1.weight", layer, dim, inner)};
}

}  // namespace

Status check_egg(const ModelConfig& config) {
  CLUTCH_RETURN_IF_ERROR(check_choice("--dialect", config.dialect, {"nano-egg", "egg.c"}));
  CLUTCH_RETURN_IF_ERROR(check_choice("--activation", config.activation, {"none", "relu"}));
  return check_range("--window", config.window, 0, 0, "egg remembers by its state: leave --window out");
}

Program build_egg(const ModelConfig& config) {
  const std::int64_t dim = config.dim, inner = kExpansion * dim;
  const std::int64_t narrow = product_divisor(config, dim), wide = product_divisor(config, inner);
  const auto rounding = config.dialect == "egg.c" ? exact::Rounding::kTruncate : exact::Rounding::kFloor;
  Builder b("egg", config.vocab);

  const int emb = b.matrix("emb", TensorSpec::kUnstacked, config.vocab, dim);
  int x = b.embed("embedded", emb);
  for (int l = 0; l < static_cast<int>(config.layers); ++l) {
    const Layer t = add_tensors(b, l, dim);
    const auto name = [l](const char* what) { return fmt::format("layer{}.{}", l, what); };

    const int h = b.state(name("h"), dim);
    const int n1 = b.norm(name("norm1"), x, t.ln1, rounding);
    const int wf = b.matmul(name("wf"), n1, t.wf, narrow);
    const int wh = b.matmul(name("wh"), n1, t.wh, narrow);
    const int uf = b.matmul(name("uf"), h, t.uf, narrow);
    const int f = b.add_bias(name("f"), wf, uf, t.bf);
    const int g = b.gate(name("g"), f, h);
    const int uh = b.matmul(name("uh"), g, t.uh, narrow);
    const int c = b.add_bias(name("c"), wh, uh, t.bh);
    const int h_next = b.mix(name("h_next"), f, h, c);
    b.set_state(h, h_next);
    x = b.add(name("after_cell"), h_next, x);

    const int n2 = b.norm(name("norm2"), x, t.ln2, rounding);
    int up = b.matmul(name("up"), n2, t.up, narrow);
    if (config.activation == "relu") up = b.relu(name("relu"), up);
    const int down = b.matmul(name("down"), up, t.down, wide);
    x = b.add(name("after_mlp"), down, x);
  }
  const int ln_out = b.vector("ln_out.weight", TensorSpec::kUnstacked, dim, kGainOne);
  const int head = b.matrix("head", TensorSpec::kUnstacked, config.vocab, dim);
  return b.finish(b.matmul("logits", b.norm("norm_out", x, ln_out, rounding), head, narrow));
}

std::optional<ModelConfig> infer_egg(const SafetensorsFile& file) {
  const Tensor* emb = find_tensor(file, "emb", 2);
  const Tensor* ln1 = find_tensor(file, "blocks.ln1.weight", 2);
  if (emb == nullptr || ln1 == nullptr) return std::nullopt;
  ModelConfig config;
  config.vocab = emb->shape[0];
  config.dim = emb->shape[1];
  config.layers = ln1->shape[0];
  const auto activation = file.metadata.find("activation");
  if (activation != file.metadata.end()) config.activation = activation->second;
  const auto dialect = file.metadata.find("dialect");
  if (dialect != file.metadata.end()) config.dialect = dialect->second;
  return config;
}

}  // namespace clutch
