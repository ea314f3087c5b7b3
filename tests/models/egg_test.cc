// The egg architecture: its tensors in the order of docs/NUMERICS.md, its divisors and roundings, and its
// logits against a second forward pass, written out here without programs, slots or the exact/ library.
#include "models/egg.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "backend/select.h"
#include "program/print.h"

namespace clutch {
namespace {

using Row = std::vector<int>;

ModelConfig config(std::int64_t dim, std::int64_t layers, const char* dialect, const char* activation) {
  return {.dim = dim, .layers = layers, .vocab = 11, .dialect = dialect, .activation = activation};
}

TEST(Egg, TensorsAreInTheOrderOfTheDocument) {
  const Program p = build_program(config(6, 2, "nano-egg", "none"), {}).value();
  struct Expected {
    const char* name;
    int layer;
    TensorKind kind;
    std::int64_t rows, cols;
    int initial;
  };
  constexpr TensorKind kMatrix = TensorKind::kMatrix, kVector = TensorKind::kVector;
  std::vector<Expected> all = {{"emb", -1, kMatrix, 11, 6, TensorSpec::kNoise}};
  for (int l = 0; l < 2; ++l) {
    all.insert(all.end(), {{"blocks.ln1.weight", l, kVector, 6, 1, 16},
                           {"blocks.att.Wf", l, kMatrix, 6, 6, TensorSpec::kNoise},
                           {"blocks.att.Uf", l, kMatrix, 6, 6, TensorSpec::kNoise},
                           {"blocks.att.bf", l, kVector, 6, 1, 0},
                           {"blocks.att.Wh", l, kMatrix, 6, 6, TensorSpec::kNoise},
                           {"blocks.att.Uh", l, kMatrix, 6, 6, TensorSpec::kNoise},
                           {"blocks.att.bh", l, kVector, 6, 1, 0},
                           {"blocks.ln2.weight", l, kVector, 6, 1, 16},
                           {"blocks.mlp.0.weight", l, kMatrix, 24, 6, TensorSpec::kNoise},
                           {"blocks.mlp.1.weight", l, kMatrix, 6, 24, TensorSpec::kNoise}});
  }
  all.push_back({"ln_out.weight", -1, kVector, 6, 1, 16});
  all.push_back({"head", -1, kMatrix, 11, 6, TensorSpec::kNoise});
  ASSERT_EQ(p.tensors.size(), all.size());
  for (std::size_t t = 0; t < all.size(); ++t) {
    const TensorSpec& tensor = p.tensors[t];
    EXPECT_EQ(tensor.name, all[t].name);
    EXPECT_EQ(tensor.layer, all[t].layer) << t;
    EXPECT_TRUE(tensor.kind == all[t].kind && tensor.rows == all[t].rows && tensor.cols == all[t].cols) << t;
    EXPECT_EQ(tensor.initial, all[t].initial) << t;
  }
  EXPECT_EQ(p.states.size(), 2u);
  EXPECT_EQ(p.vocab, 11);
}

TEST(Egg, DialectsDivideAndRoundAsTheyShould) {
  const auto divisors = [](std::int64_t dim, const char* dialect) {
    std::vector<std::int64_t> seen;  // of the square products and the head, of the wide one
    const Program p = build_program(config(dim, 1, dialect, "none"), {}).value();
    for (const Instruction& i : p.instructions) {
      if (i.op == Op::norm) {
        EXPECT_EQ(i.rounding == exact::Rounding::kTruncate, std::string(dialect) == "egg.c");
      }
      if (i.op == Op::matmul) seen.push_back(i.divisor);
    }
    return seen;
  };
  using List = std::vector<std::int64_t>;  // Wf, Wh, Uf, Uh, mlp.0, mlp.1, head
  EXPECT_EQ(divisors(64, "nano-egg"), (List{128, 128, 128, 128, 128, 256, 128}));
  EXPECT_EQ(divisors(5, "nano-egg"), (List{32, 32, 32, 32, 32, 64, 32}));
  EXPECT_EQ(divisors(1, "nano-egg"), (List{16, 16, 16, 16, 16, 32, 16}));
  EXPECT_EQ(divisors(64, "egg.c"), (List{256, 256, 256, 256, 256, 512, 256}));
  EXPECT_EQ(divisors(5, "egg.c"), (List{256, 256, 256, 256, 256, 512, 256}));
}

// A forward pass by hand. Rounding down is done in floating point, exactly: all numbers are small.
class ByHand {
 public:
  ByHand(const ModelConfig& config, const Weights& weights)
      : config_(config),
        weights_(weights),
        dim_(static_cast<int>(config.dim)),
        h_(config.layers, Row(dim_)) {}

  Row step(int token) {
    if (token == 0) h_.assign(h_.size(), Row(dim_));
    int t = 0;
    const std::vector<std::int8_t>& emb = weights_[t++];
    Row x(emb.begin() + token * dim_, emb.begin() + (token + 1) * dim_);
    for (Row& h : h_) {
      const auto &ln1 = weights_[t], &wf = weights_[t + 1], &uf = weights_[t + 2], &bf = weights_[t + 3],
                 &wh = weights_[t + 4], &uh = weights_[t + 5], &bh = weights_[t + 6], &ln2 = weights_[t + 7],
                 &up = weights_[t + 8], &down = weights_[t + 9];
      t += 10;
      const Row n = norm(x, ln1), wf_n = times(wf, n), uf_h = times(uf, h);
      Row f(dim_), g(dim_), next(dim_);
      for (int i = 0; i < dim_; ++i) f[i] = limit(wf_n[i] + uf_h[i] + bf[i]);
      for (int i = 0; i < dim_; ++i) g[i] = down_to((f[i] + 127) * h[i], 256);
      const Row wh_n = times(wh, n), uh_g = times(uh, g);
      for (int i = 0; i < dim_; ++i) {
        const int c = limit(wh_n[i] + uh_g[i] + bh[i]);
        next[i] = h[i] + down_to((f[i] + 127) * (c - h[i]), 256);
      }
      h = next;
      for (int i = 0; i < dim_; ++i) x[i] = limit(x[i] + h[i]);
      Row hidden = times(up, norm(x, ln2));
      if (config_.activation == "relu") {
        for (int& v : hidden) v = v < 0 ? 0 : v;
      }
      const Row out = times(down, hidden);
      for (int i = 0; i < dim_; ++i) x[i] = limit(x[i] + out[i]);
    }
    return times(weights_[t + 1], norm(x, weights_[t]));
  }

 private:
  static int limit(int v) { return v > 127 ? 127 : v < -127 ? -127 : v; }
  static int down_to(int a, int b) { return static_cast<int>(std::floor(static_cast<double>(a) / b)); }

  Row times(const std::vector<std::int8_t>& w, const Row& x) const {
    const int inputs = static_cast<int>(x.size());
    int divisor = 16 * static_cast<int>(std::sqrt(inputs));
    if (config_.dialect == "egg.c") divisor = inputs == 4 * dim_ ? 512 : 256;
    Row y(w.size() / x.size());
    for (int i = 0; i < static_cast<int>(y.size()); ++i) {
      for (int k = 0; k < inputs; ++k) y[i] += x[k] * w[i * inputs + k];
      y[i] = limit(down_to(y[i], divisor));
    }
    return y;
  }

  Row norm(const Row& x, const std::vector<std::int8_t>& gain) const {
    int sum = 0;
    for (const int v : x) sum += std::abs(v);
    const int mean = std::max(1, sum / dim_);
    Row y(x.size());
    for (int i = 0; i < dim_; ++i) {
      const int product = x[i] * gain[i];
      y[i] = limit(config_.dialect == "egg.c" ? product / mean : down_to(product, mean));
    }
    return y;
  }

  ModelConfig config_;
  const Weights& weights_;
  int dim_;
  std::vector<Row> h_;
};

TEST(Egg, LogitsAreThoseOfAForwardPassByHand) {
  std::mt19937_64 random(3);
  for (const char* dialect : {"nano-egg", "egg.c"}) {
    for (const char* activation : {"none", "relu"}) {
      for (const auto& [dim, layers] : {std::pair{4, 1}, {3, 2}, {1, 1}, {16, 3}}) {
        SCOPED_TRACE(std::string(dialect) + " " + activation + " D=" + std::to_string(dim));
        const ModelConfig c = config(dim, layers, dialect, activation);
        const Program program = build_program(c, {}).value();
        Weights weights = initial_weights(program, random());
        for (auto& tensor : weights) {
          for (auto& w : tensor)
            w = static_cast<std::int8_t>(
                std::clamp<int>(w + static_cast<int>(random() % 41) - 20, -127, 127));
        }
        constexpr std::uint32_t kLength = 60;
        std::vector<std::uint16_t> text(kLength + 1);
        for (auto& token : text) token = static_cast<std::uint16_t>(random() % 11);  // with document starts

        auto backend = make_backend("reference", 1).value();
        ASSERT_TRUE(backend->load(program, {}, weights).ok());
        const auto states = backend->new_states(1).value();
        const std::uint32_t stream = 0;
        std::int64_t loss = 0;
        std::vector<std::int8_t> logits(kLength * 11);
        ASSERT_TRUE(backend
                        ->evaluate({.noise = {},
                                    .length = kLength,
                                    .text = text,
                                    .stream_of = {&stream, 1},
                                    .states = states.get()},
                                   {.losses = {&loss, 1}, .logits = logits})
                        .ok());
        ByHand by_hand(c, weights);
        bool varied = false;
        for (std::uint32_t t = 0; t < kLength; ++t) {
          const Row expected = by_hand.step(text[t]);
          const Row actual(logits.begin() + t * 11, logits.begin() + (t + 1) * 11);
          ASSERT_EQ(actual, expected) << "token " << t;
          varied |= t > 0 && !std::equal(actual.begin(), actual.end(), logits.begin());
        }
        EXPECT_TRUE(varied || dim == 1) << "logits that are all alike would prove nothing";
      }
    }
  }
}

}  // namespace
}  // namespace clutch
