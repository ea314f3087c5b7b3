// Programs themselves: the builder, sizes, initial weights, digests, the printer and the page of ops.
#include "program/program.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "exact/digest.h"
#include "exact/noise.h"
#include "models/model.h"
#include "program/builder.h"
#include "program/print.h"

namespace clutch {
namespace {

Program egg(std::int64_t dim, std::int64_t layers, std::int64_t vocab) {
  return build_program({.dim = dim, .layers = layers, .vocab = vocab}, {}).value();
}

// Every op once, in a program that verify() accepts.
Program all_ops() {
  Builder b("all", 3);
  const int h = b.state("h", 4);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 3, 4));
  const int m = b.matmul("m", e, b.matrix("W", 0, 4, 4), 48);
  const int n = b.norm("n", m, b.vector("g", 0, 4, 16), exact::Rounding::kTruncate);
  const int a = b.add("a", n, h);
  const int f = b.add_bias("f", a, e, b.vector("b", 1, 4, -5));
  const int g = b.gate("g", f, h);
  const int x = b.mix("x", f, g, m);
  const int r = b.relu("r", x);
  b.set_state(h, x);
  return b.finish(b.matmul("logits", r, b.matrix("H", TensorSpec::kUnstacked, 3, 4), 7));
}

TEST(Builder, WritesEveryOpAsGiven) {
  const Program p = all_ops();
  ASSERT_TRUE(verify(p, {}).ok()) << verify(p, {}).status().message();
  EXPECT_EQ(p.vocab, 3);
  EXPECT_EQ(p.output, 9);
  ASSERT_EQ(p.states.size(), 1u);
  EXPECT_EQ(p.states[0].read, 0);
  EXPECT_EQ(p.states[0].write, 7);
  ASSERT_EQ(p.instructions.size(), 9u);
  std::vector<Op> used;
  for (std::size_t i = 0; i < p.instructions.size(); ++i) {
    EXPECT_EQ(p.instructions[i].dst, static_cast<int>(i) + 1);
    EXPECT_EQ(p.slots[i + 1].width, i == 8 ? 3 : 4);
    used.push_back(p.instructions[i].op);
  }
  const std::vector<Op> ops = {Op::embed, Op::matmul, Op::norm, Op::add,   Op::add_bias,
                               Op::gate,  Op::mix,    Op::relu, Op::matmul};
  EXPECT_EQ(used, ops);
  EXPECT_EQ(p.instructions[6].in, (std::array<int, 3>{5, 6, 2}));
  EXPECT_EQ(p.instructions[1].divisor, 48);
  EXPECT_EQ(p.instructions[2].rounding, exact::Rounding::kTruncate);
  EXPECT_EQ(p.instructions[0].tensor, 0);
}

TEST(Program, Sizes) {
  const Program p = egg(4, 2, 10);
  const std::int64_t layer = 4 * 4 * 4 + 2 * 16 * 4 + 4 * 4;  // four square, two wide, four vectors
  EXPECT_EQ(p.parameters(), 2 * 10 * 4 + 2 * layer + 4);
  EXPECT_EQ(p.state_width(), 8);
  EXPECT_EQ(p.multiplies(), 10 * 4 + 2 * (4 * 4 * 4 + 2 * 16 * 4));
  EXPECT_EQ(p.tensors[1].label(), "blocks.ln1.weight[0]");
  EXPECT_EQ(p.tensors[11].label(), "blocks.ln1.weight[1]");
  EXPECT_EQ(p.tensors[0].label(), "emb");
}

// Of the second implementation, tests/second/clutch2.py.
TEST(InitialWeights, KnownDigests) {
  const auto initial = [](const Program& p, std::uint64_t seed) {
    return digest(p, initial_weights(p, seed));
  };
  EXPECT_EQ(initial(egg(4, 1, 256), 0), 0xD235D5195C2632F9u);
  EXPECT_EQ(initial(egg(8, 2, 256), 7), 0xFA0931A780D9FEF2u);
  EXPECT_EQ(initial(egg(5, 3, 17), ~0ULL), 0x82055079F7E44246u);
}

TEST(InitialWeights, AreNoiseOrConstants) {
  const Program p = all_ops();
  const Weights weights = initial_weights(p, 77);
  ASSERT_EQ(weights.size(), p.tensors.size());
  for (std::size_t t = 0; t < weights.size(); ++t) {
    std::vector<std::int8_t> expected(p.tensors[t].size(), static_cast<std::int8_t>(p.tensors[t].initial));
    if (p.tensors[t].kind == TensorKind::kMatrix) {
      exact::fill_noise(
          {.seed = 77, .tensor = static_cast<std::uint16_t>(t), .role = exact::NoiseRole::kInitial}, 0,
          static_cast<std::uint32_t>(expected.size()), expected.data());
    }
    EXPECT_EQ(weights[t], expected) << p.tensors[t].label();
  }
}

TEST(Digest, ChangesWithAnyWeightAndWithTheOrderOfTensors) {
  const Program p = all_ops();
  Weights weights = initial_weights(p, 1);
  const std::uint64_t before = digest(p, weights);
  std::uint64_t sum = 0;
  for (std::size_t t = 0; t < weights.size(); ++t) {
    sum += exact::digest_tensor(static_cast<std::uint32_t>(t), weights[t].data(), weights[t].size());
    for (auto& w : weights[t]) {
      ++w;
      EXPECT_NE(digest(p, weights), before) << p.tensors[t].label();
      --w;
    }
  }
  EXPECT_EQ(before, sum);
  std::swap(weights[2], weights[3]);  // two vectors of one width
  EXPECT_NE(digest(p, weights), before);
}

TEST(Digest, WantsAsManyTensorsAsTheProgram) {
  const Program p = all_ops();
  Weights weights = initial_weights(p, 1);
  weights.pop_back();
  EXPECT_DEATH(digest(p, weights), "weights match the program's tensors: 4 != 5");
}

TEST(Print, EveryOpOnALine) {
  EXPECT_EQ(print_program(all_ops()),
            "program all vocab 3: 48 parameters, 4 states, 28 multiplies per token\n"
            "tensor E int8[3][4] starts as noise\n"
            "tensor W[0] int8[4][4] starts as noise\n"
            "tensor g[0] int8[4][1] starts as 16\n"
            "tensor b[1] int8[4][1] starts as -5\n"
            "tensor H int8[3][4] starts as noise\n"
            "state %0 h[4] becomes %7\n"
            "%1 e[4] = embed E\n"
            "%2 m[4] = matmul %1 W[0] // 48\n"
            "%3 n[4] = norm %2 g[0] truncate\n"
            "%4 a[4] = add %3 %0\n"
            "%5 f[4] = add_bias %4 %1 b[1]\n"
            "%6 g[4] = gate %5 %0\n"
            "%7 x[4] = mix %5 %6 %2\n"
            "%8 r[4] = relu %7\n"
            "%9 logits[3] = matmul %8 H // 7\n"
            "output %9\n");
}

TEST(Print, Egg) {
  EXPECT_EQ(print_program(egg(4, 1, 256)),
            R"(program egg vocab 256: 2260 parameters, 4 states, 1216 multiplies per token
tensor emb int8[256][4] starts as noise
tensor blocks.ln1.weight[0] int8[4][1] starts as 16
tensor blocks.att.Wf[0] int8[4][4] starts as noise
tensor blocks.att.Uf[0] int8[4][4] starts as noise
tensor blocks.att.bf[0] int8[4][1] starts as 0
tensor blocks.att.Wh[0] int8[4][4] starts as noise
tensor blocks.att.Uh[0] int8[4][4] starts as noise
tensor blocks.att.bh[0] int8[4][1] starts as 0
tensor blocks.ln2.weight[0] int8[4][1] starts as 16
tensor blocks.mlp.0.weight[0] int8[16][4] starts as noise
tensor blocks.mlp.1.weight[0] int8[4][16] starts as noise
tensor ln_out.weight int8[4][1] starts as 16
tensor head int8[256][4] starts as noise
state %1 layer0.h[4] becomes %10
%0 embedded[4] = embed emb
%2 layer0.norm1[4] = norm %0 blocks.ln1.weight[0] floor
%3 layer0.wf[4] = matmul %2 blocks.att.Wf[0] // 32
%4 layer0.wh[4] = matmul %2 blocks.att.Wh[0] // 32
%5 layer0.uf[4] = matmul %1 blocks.att.Uf[0] // 32
%6 layer0.f[4] = add_bias %3 %5 blocks.att.bf[0]
%7 layer0.g[4] = gate %6 %1
%8 layer0.uh[4] = matmul %7 blocks.att.Uh[0] // 32
%9 layer0.c[4] = add_bias %4 %8 blocks.att.bh[0]
%10 layer0.h_next[4] = mix %6 %1 %9
%11 layer0.after_cell[4] = add %10 %0
%12 layer0.norm2[4] = norm %11 blocks.ln2.weight[0] floor
%13 layer0.up[16] = matmul %12 blocks.mlp.0.weight[0] // 32
%14 layer0.down[4] = matmul %13 blocks.mlp.1.weight[0] // 64
%15 layer0.after_mlp[4] = add %14 %11
%16 norm_out[4] = norm %15 ln_out.weight floor
%17 logits[256] = matmul %16 head // 32
output %17
)");
}

TEST(Print, InstructionsOutOfRangePrintToo) {
  Program p = all_ops();
  p.instructions[1] = {.op = Op::matmul, .dst = 99, .in = {-7, 3, 3}, .tensor = 50};
  EXPECT_EQ(print_instruction(p, 1), "%99? = matmul %-7 // 1");
}

TEST(Program, StatesEndWithCountAndCaches) {
  Builder b("p", 4, 10);
  const int h = b.state("h", 64);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 4, 64));
  const int first = b.attend("first", h, e, e), second = b.attend("second", h, first, e);
  b.set_state(h, second);
  const Program p = b.finish(b.matmul("logits", second, 0, 16));
  EXPECT_EQ(p.state_width(), 64 + 2 + 2 * 10 * 64 * 2);
}

TEST(Positions, CountUpToTheWindowAndFromDocumentStarts) {
  EXPECT_EQ(next_position(0, 7, 3), 0);
  EXPECT_EQ(next_position(2, 7, 3), 2);
  EXPECT_EQ(next_position(3, 7, 3), 0);
  EXPECT_EQ(next_position(2, 0, 3), 0);
  std::int8_t stored[2];
  for (const std::int64_t count : {0, 1, 127, 128, 1024}) {
    write_count(count, stored);
    EXPECT_TRUE(stored[0] >= 0 && stored[1] >= 0);
    EXPECT_EQ(read_count(stored, 1024), count);
  }
  EXPECT_EQ(read_count(stored, 1023), 0) << "no count of this window";
  stored[0] = -1, stored[1] = 0;
  EXPECT_EQ(read_count(stored, 1024), 0);
}

TEST(Ops, NamesAreTheEnums) {
  EXPECT_EQ(kOpCount, 14);
  EXPECT_EQ(info(Op::embed).name, "embed");
  EXPECT_EQ(info(Op::add_bias).name, "add_bias");
  EXPECT_EQ(info(Op::mix).slots_read, 3);
  EXPECT_EQ(info(Op::relu).name, "relu");
  EXPECT_EQ(info(Op::attend).name, "attend");
  EXPECT_EQ(info(Op::rotate).attribute, Attribute::kPosition);
}

// Tests run in tests/.
TEST(Ops, PageIsUpToDate) {
  std::ifstream file("../docs/OPS.md");
  std::ostringstream page;
  page << file.rdbuf();
  EXPECT_EQ(page.str(), ops_markdown()) << "run: clutch info --ops > docs/OPS.md";
}

}  // namespace
}  // namespace clutch
