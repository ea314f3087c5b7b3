// The transformer architecture: its tensors in the order of docs/NUMERICS.md, its divisors, and its logits
// against a second forward pass, written out here in floating point that is exact at these sizes, without
// programs, slots, caches or the exact/ library.
#include "models/transformer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/select.h"

namespace clutch {
namespace {

using Row = std::vector<double>;

ModelConfig config(std::int64_t dim, std::int64_t layers, std::int64_t window) {
  return {.arch = "transformer", .dim = dim, .layers = layers, .vocab = 11, .window = window};
}

TEST(Transformer, TensorsAreInTheOrderOfTheDocument) {
  const Program p = build_program(config(64, 2, 16), {}).value();
  struct Expected {
    const char* name;
    int layer;
    std::int64_t rows, cols;
    int initial;
  };
  constexpr int kNoise = TensorSpec::kNoise;
  std::vector<Expected> all = {
      {"embed.weight", -1, 11, 64, kNoise},        {"embed.bias", -1, 64, 1, 0},
      {"first.ln.weight", -1, 64, 1, 16},          {"first.ln.bias", -1, 64, 1, 0},
      {"first.mlp.0.weight", -1, 256, 64, kNoise}, {"first.mlp.0.bias", -1, 256, 1, 0},
      {"first.mlp.1.weight", -1, 64, 256, kNoise}, {"first.mlp.1.bias", -1, 64, 1, 0}};
  for (int l = 0; l < 2; ++l) {
    all.insert(all.end(), {{"blocks.ln1.weight", l, 64, 1, 16},
                           {"blocks.ln1.bias", l, 64, 1, 0},
                           {"blocks.att.Wq", l, 64, 64, kNoise},
                           {"blocks.att.Wk", l, 64, 64, kNoise},
                           {"blocks.att.Wv", l, 64, 64, kNoise},
                           {"blocks.att.Wo", l, 64, 64, kNoise},
                           {"blocks.ln2.weight", l, 64, 1, 16},
                           {"blocks.ln2.bias", l, 64, 1, 0},
                           {"blocks.mlp.0.weight", l, 256, 64, kNoise},
                           {"blocks.mlp.0.bias", l, 256, 1, 0},
                           {"blocks.mlp.1.weight", l, 64, 256, kNoise},
                           {"blocks.mlp.1.bias", l, 64, 1, 0}});
  }
  all.insert(all.end(), {{"ln_out.weight", -1, 64, 1, 16}, {"ln_out.bias", -1, 64, 1, 0}});
  ASSERT_EQ(p.tensors.size(), all.size());
  for (std::size_t t = 0; t < all.size(); ++t) {
    const TensorSpec& tensor = p.tensors[t];
    EXPECT_EQ(tensor.name, all[t].name);
    EXPECT_TRUE(tensor.layer == all[t].layer && tensor.rows == all[t].rows && tensor.cols == all[t].cols)
        << t;
    EXPECT_EQ(tensor.initial, all[t].initial) << t;
  }
  EXPECT_EQ(p.state_width(), 2 + 16 * 4 * 64);
}

// At a width of 256 they are egg.c's shifts: 7 for q, k and v here, 9, 8, 10, and 8 for the logits.
TEST(Transformer, DivisorsAreThoseOfTheDocument) {
  const auto divisors = [](std::int64_t dim) {
    std::vector<std::int64_t> seen;
    const Program p = build_program(config(dim, 1, 8), {}).value();
    for (const Instruction& i : p.instructions) {
      if (i.op == Op::matmul) seen.push_back(i.divisor);
    }
    return seen;
  };
  using List = std::vector<std::int64_t>;  // the first MLP's, then Wq, Wk, Wv, Wo, mlp.0, mlp.1, logits
  EXPECT_EQ(divisors(256), (List{256, 1024, 128, 128, 128, 512, 256, 1024, 256}));
  EXPECT_EQ(divisors(128), (List{176, 704, 88, 88, 88, 352, 176, 704, 176}));
}

TEST(Transformer, RefusesWhatItCannotBe) {
  const struct {
    ModelConfig config;
    const char* message;
  } rows[] = {
      {config(65, 1, 8), "--dim: 65 is no multiple of 64, the width of a head"},
      {config(64, 1, 0), "--window: 0 is outside 1..1024; the table of rotary positions ends there"},
      {config(64, 1, 1025), "--window: 1025 is outside 1..1024; the table of rotary positions ends there"},
      {{.arch = "transformer", .dim = 64, .dialect = "egg.c", .window = 8}, "--dialect: 'egg.c' is unknown"},
      {{.arch = "transformer", .dim = 64, .activation = "relu", .window = 8},
       "--activation: 'relu' is unknown"},
      {{.window = 8}, "--window: 8 is outside 0..0; egg remembers by its state"},
  };
  for (const auto& row : rows) {
    const auto program = build_program(row.config, {});
    ASSERT_FALSE(program.ok()) << row.message;
    EXPECT_EQ(program.status().message().substr(0, std::string(row.message).size()), row.message);
  }
}

// All values are whole numbers below 2^53 and every quotient is far from where its rounding would matter.
class ByHand {
 public:
  ByHand(const ModelConfig& config, const Weights& weights)
      : weights_(weights),
        dim_(static_cast<int>(config.dim)),
        window_(config.window),
        layers_(config.layers) {}

  Row step(int token) {
    if (token == 0 || static_cast<std::int64_t>(past_.size()) == window_ * layers_) past_.clear();
    position_ = static_cast<int>(past_.size() / static_cast<std::size_t>(layers_));
    next_ = 2;
    Row x(dim_);
    for (int i = 0; i < dim_; ++i) x[i] = limit(weights_[0][token * dim_ + i] + weights_[1][i]);
    x = mlp(x);
    for (int l = 0; l < layers_; ++l) {
      x = attention(x, l);
      x = mlp(x);
    }
    const int unit = 16 * static_cast<int>(std::sqrt(dim_));
    return times(weights_[0], norm(x), unit);
  }

 private:
  struct Past {
    int layer;
    Row k, v;
  };
  static double limit(double v) { return std::max(-127.0, std::min(127.0, v)); }

  const std::vector<std::int8_t>& take() { return weights_[next_++]; }

  static Row times(const std::vector<std::int8_t>& w, const Row& x, int divisor) {
    Row y(w.size() / x.size());
    for (std::size_t i = 0; i < y.size(); ++i) {
      for (std::size_t k = 0; k < x.size(); ++k) y[i] += x[k] * w[i * x.size() + k];
      y[i] = limit(std::floor(y[i] / divisor));
    }
    return y;
  }
  Row norm(const Row& x) {
    double sum = 0;
    for (const double v : x) sum += std::fabs(v);
    const double mean = std::max(1.0, std::floor(sum / dim_));
    Row y(x.size());
    const auto &gain = take(), &bias = take();
    for (std::size_t i = 0; i < x.size(); ++i)
      y[i] = limit(limit(std::trunc(x[i] * gain[i] / mean)) + bias[i]);
    return y;
  }
  static Row scaled(Row x) {
    double largest = 0;
    for (const double v : x) largest = std::max(largest, std::fabs(v));
    for (double& v : x) v = largest == 0 ? 0 : std::floor((254 * v + largest) / (2 * largest));
    return x;
  }
  Row mlp(const Row& x) {
    const Row n = norm(x);
    const auto &up = take(), &up_bias = take(), &down = take(), &down_bias = take();
    Row hidden = times(up, n, 16 * static_cast<int>(std::sqrt(dim_)));
    for (std::size_t i = 0; i < hidden.size(); ++i) {
      const double v = limit(hidden[i] + up_bias[i]) / 16;
      hidden[i] = std::round(8 * v * std::erfc(-v / std::sqrt(2.0)));
    }
    Row out = times(down, hidden, 32 * static_cast<int>(std::sqrt(4 * dim_)));
    for (int i = 0; i < dim_; ++i) out[i] = x[i] + limit(out[i] + down_bias[i]);
    return scaled(out);
  }
  Row turned(const Row& x) const {
    Row y(x.size());
    for (int i = 0; i < dim_; i += 2) {
      const double angle = position_ * std::pow(10000.0, -(i % 64) / 64.0);
      const double c = std::round(0x1p20 * std::cos(angle)), s = std::round(0x1p20 * std::sin(angle));
      y[i] = std::floor((x[i] * c - x[i + 1] * s + 0x1p19) / 0x1p20);
      y[i + 1] = std::floor((x[i] * s + x[i + 1] * c + 0x1p19) / 0x1p20);
    }
    return scaled(y);
  }
  Row attention(const Row& x, int layer) {
    const Row n = norm(x);
    const int unit = 16 * static_cast<int>(std::sqrt(dim_));
    const Row q = turned(times(take(), n, unit / 2));
    const Row k = turned(times(take(), n, unit / 2));
    past_.push_back({layer, k, scaled(times(take(), n, unit / 2))});
    Row seen(dim_);
    for (int head = 0; head < dim_; head += 64) {
      std::vector<std::pair<double, const Row*>> scores;
      double largest = -1e9;
      for (const Past& past : past_) {
        if (past.layer != layer) continue;
        double score = 0;
        for (int i = head; i < head + 64; ++i) score += q[i] * past.k[i];
        scores.emplace_back(std::floor(score / 256), &past.v);
        largest = std::max(largest, scores.back().first);
      }
      double total = 0;
      for (auto& [score, value] : scores)
        total += score = std::round(0x1p18 * std::exp((score - largest) / 6));
      for (int i = head; i < head + 64; ++i) {
        double sum = 0;
        for (const auto& [weight, value] : scores) sum += weight * (*value)[i];
        seen[i] = std::floor(sum / total);
      }
    }
    Row out = times(take(), seen, 2 * unit);
    for (int i = 0; i < dim_; ++i) out[i] += x[i];
    return scaled(out);
  }

  const Weights& weights_;
  const int dim_;
  const std::int64_t window_, layers_;
  std::vector<Past> past_;
  int position_ = 0;
  std::size_t next_ = 0;
};

TEST(Transformer, LogitsAreThoseOfAForwardPassByHand) {
  std::mt19937_64 random(3);
  for (const auto& [dim, layers, window] : {std::tuple{64, 1, 16}, {64, 2, 5}, {128, 2, 40}, {192, 1, 1}}) {
    SCOPED_TRACE(testing::Message() << "D=" << dim << " L=" << layers << " W=" << window);
    const ModelConfig c = config(dim, layers, window);
    const Program program = build_program(c, {}).value();
    Weights weights = initial_weights(program, random());
    for (auto& tensor : weights) {
      for (auto& w : tensor)
        w = static_cast<std::int8_t>(std::clamp<int>(w + static_cast<int>(random() % 41) - 20, -127, 127));
    }
    constexpr std::uint32_t kLength = 60;
    std::vector<std::uint16_t> text(kLength + 1);
    for (auto& token : text) token = static_cast<std::uint16_t>(random() % 40 == 0 ? 0 : random() % 11);

    auto backend = make_backend("reference", 1).value();
    ASSERT_TRUE(backend->load(program, {}, weights).ok());
    const std::uint32_t stream = 0;
    std::int64_t loss = 0;
    std::vector<std::int8_t> logits(kLength * 11);
    ASSERT_TRUE(
        backend
            ->evaluate(
                {.noise = {}, .length = kLength, .text = text, .stream_of = {&stream, 1}, .states = nullptr},
                {.losses = {&loss, 1}, .logits = logits})
            .ok());
    ByHand by_hand(c, weights);
    for (std::uint32_t t = 0; t < kLength; ++t) {
      const Row expected = by_hand.step(text[t]);
      const Row actual(logits.begin() + t * 11, logits.begin() + (t + 1) * 11);
      ASSERT_EQ(actual, expected) << "token " << t;
    }
  }
}

TEST(Transformer, IsRecognisedByItsTensors) {
  const ModelConfig c = config(64, 2, 16);
  const Program program = build_program(c, {}).value();
  SafetensorsFile file{to_tensors(program, initial_weights(program, 5)), {}};
  auto model = to_model(file, "f");
  ASSERT_TRUE(model.ok()) << model.status().message();
  EXPECT_EQ(model.value().config.arch, "transformer");
  EXPECT_EQ(model.value().config.window, 256);
  EXPECT_EQ(model.value().weights, initial_weights(program, 5));
  file.metadata["window"] = "16";
  EXPECT_EQ(to_metadata(to_model(file, "f").value().config), to_metadata(c));
  file.metadata = to_metadata(c);
  EXPECT_EQ(to_metadata(to_model(file, "f").value().config), to_metadata(c));
  file.metadata.erase("window");
  EXPECT_EQ(to_model(file, "f").status().message().substr(0, 29), "f: its metadata lack window; ");
}

}  // namespace
}  // namespace clutch
