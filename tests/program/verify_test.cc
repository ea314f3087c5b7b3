// verify(): what it accepts, every way it refuses, and its bounds, which are recomputed by hand and reached.
#include "program/verify.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>

#include "exact/attention.h"
#include "exact/noise.h"
#include "models/model.h"
#include "program/builder.h"
#include "program/print.h"

namespace clutch {
namespace {

// E [8][4] -> a = norm, f = add_bias(a, h), m = mix; state h; head. Instructions 0 .. 4.
Program small() {
  Builder b("small", 8);
  const int h = b.state("h", 4);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 8, 4));
  const int a = b.norm("a", e, b.vector("gain", TensorSpec::kUnstacked, 4, 16), exact::Rounding::kFloor);
  const int f = b.add_bias("f", a, h, b.vector("bias", TensorSpec::kUnstacked, 4, 0));
  const int m = b.mix("m", f, h, a);
  b.set_state(h, m);
  return b.finish(b.matmul("logits", m, b.matrix("H", TensorSpec::kUnstacked, 8, 4), 32));
}

std::string refusal(const Program& program, const NoiseShape& noise = {}) {
  const auto bounds = verify(program, noise);
  return bounds.ok() ? "accepted" : bounds.status().message();
}

TEST(Verify, AcceptsTheSmallProgramAndEggs) {
  EXPECT_EQ(refusal(small()), "accepted");
  for (const char* dialect : {"nano-egg", "egg.c"}) {
    for (const std::int64_t dim : {1, 3, 64, 512}) {
      const auto program =
          build_program({.dim = dim, .layers = 3, .dialect = dialect}, {.rank = 8, .sigma_shift = 0});
      ASSERT_TRUE(program.ok()) << program.status().message();
      EXPECT_EQ(refusal(program.value()), "accepted");
    }
  }
}

struct Fault {
  const char* name;
  std::function<void(Program&)> make;
  const char* message;  // what the refusal begins with: it names the instruction, tensor, slot or state
};

TEST(Verify, NamesWhatIsWrong) {
  constexpr std::int64_t kTooWide = (1 << 20) + 1;
  const Fault faults[] = {
      {"operand not written", [](Program& p) { p.instructions[1].in[0] = 3; },
       "%2 a[4] = norm %3 gain floor: operand 0 is not written before"},
      {"operand written by itself", [](Program& p) { p.instructions[3].in[2] = 4; },
       "%4 m[4] = mix %3 %0 %4: operand 2 is not written before"},
      {"operand missing", [](Program& p) { p.instructions[2].in[1] = kNothing; },
       "%3 f[4] = add_bias %2 %-1 bias: operand 1 is not written before"},
      {"operand out of range", [](Program& p) { p.instructions[2].in[0] = 77; },
       "%3 f[4] = add_bias %77 %0 bias: operand 0 is not written before"},
      {"operand too many", [](Program& p) { p.instructions[1].in[1] = 0; },
       "%2 a[4] = norm %1 gain floor: reads too many slots"},
      {"written twice", [](Program& p) { p.instructions[2].dst = 2; },
       "%2 a[4] = add_bias %2 %0 bias: its slot is written twice"},
      {"writes a state's slot", [](Program& p) { p.instructions[2].dst = 0; },
       "%0 h[4] = add_bias %2 %0 bias: its slot is written twice"},
      {"writes no slot", [](Program& p) { p.instructions[0].dst = kNothing; },
       "%-1? = embed E: its slot is written twice"},
      {"writes out of range", [](Program& p) { p.instructions[0].dst = 6; },
       "%6? = embed E: its slot is written twice"},
      {"tensor missing", [](Program& p) { p.instructions[0].tensor = kNothing; },
       "%1 e[4] = embed: has a tensor too many or too few"},
      {"tensor too many", [](Program& p) { p.instructions[3].tensor = 1; },
       "%4 m[4] = mix %3 %0 %2 gain: has a tensor too many or too few"},
      {"tensor out of range", [](Program& p) { p.instructions[0].tensor = 4; },
       "%1 e[4] = embed: its tensor is absent or of the wrong kind"},
      {"tensor below range", [](Program& p) { p.instructions[0].tensor = -2; },
       "%1 e[4] = embed: its tensor is absent or of the wrong kind"},
      {"vector for a matrix", [](Program& p) { p.instructions[4].tensor = 1; },
       "%5 logits[8] = matmul %4 gain // 32: its tensor is absent or of the wrong kind"},
      {"matrix for a vector", [](Program& p) { p.instructions[1].tensor = 3; },
       "%2 a[4] = norm %1 H floor: its tensor is absent or of the wrong kind"},
      {"matrix too narrow", [](Program& p) { p.tensors[3].cols = 3; },
       "%5 logits[8] = matmul %4 H // 32: widths 4 -> 8 do not fit the matrix [8][3]"},
      {"matrix transposed", [](Program& p) { std::swap(p.tensors[3].rows, p.tensors[3].cols); },
       "%5 logits[8] = matmul %4 H // 32: widths 4 -> 8 do not fit the matrix [4][8]"},
      {"embedding of another vocabulary", [](Program& p) { p.tensors[0].rows = 9; },
       "%1 e[4] = embed E: widths 8 -> 4 do not fit the matrix [9][4]"},
      {"embedding of another width", [](Program& p) { p.tensors[0].cols = 5; },
       "%1 e[4] = embed E: widths 8 -> 4 do not fit the matrix [8][5]"},
      {"operand of another width", [](Program& p) { p.slots[0].width = 5; },
       "%3 f[4] = add_bias %2 %0 bias: operands differ in width"},
      {"vector of another width", [](Program& p) { p.tensors[1].rows = 5; },
       "%2 a[4] = norm %1 gain floor: the vector differs in width"},
      {"divisor 0", [](Program& p) { p.instructions[4].divisor = 0; },
       "%5 logits[8] = matmul %4 H // 0: divisor 0 is outside 1..2^20"},
      {"divisor negative", [](Program& p) { p.instructions[4].divisor = -1; },
       "%5 logits[8] = matmul %4 H // -1: divisor -1 is outside 1..2^20"},
      {"divisor too large", [](Program& p) { p.instructions[4].divisor = kTooWide; },
       "%5 logits[8] = matmul %4 H // 1048577: divisor 1048577 is outside 1..2^20"},
      {"tensor empty", [](Program& p) { p.tensors[1].rows = 0; }, "gain: impossible shape [0][1]"},
      {"tensor negative", [](Program& p) { p.tensors[0].cols = -4; }, "E: impossible shape [8][-4]"},
      {"tensor too wide", [](Program& p) { p.tensors[0].cols = kTooWide; },
       "E: impossible shape [8][1048577]"},
      {"tensor too large", [](Program& p) { p.tensors[0].rows = 1 << 16, p.tensors[0].cols = (1 << 15) + 1; },
       "E: impossible shape [65536][32769]"},
      {"vector with columns", [](Program& p) { p.tensors[1].cols = 2; }, "gain: impossible shape [4][2]"},
      {"tensor of no kind", [](Program& p) { p.tensors[1].kind = TensorKind::kNone; },
       "gain: impossible shape [4][1]"},
      {"too many tensors", [](Program& p) { p.tensors.resize(65537, p.tensors[1]); },
       "small: 65537 tensors are over 65536"},
      {"slot empty", [](Program& p) { p.slots[3].width = 0; }, "slot f: impossible width 0"},
      {"slot too wide", [](Program& p) { p.slots[3].width = kTooWide; }, "slot f: impossible width 1048577"},
      {"state reads nothing", [](Program& p) { p.states[0].read = kNothing; },
       "small: a state reads no slot"},
      {"state not set", [](Program& p) { p.states[0].write = kNothing; },
       "state h: is not set by an instruction of its width"},
      {"state set to a state", [](Program& p) { p.states[0].write = 0; },
       "state h: is not set by an instruction of its width"},
      {"state set to another width", [](Program& p) { p.states[0].write = 5; },
       "state h: is not set by an instruction of its width"},
      {"no output", [](Program& p) { p.output = kNothing; },
       "small: the output is not a written slot as wide as the vocabulary"},
      {"output out of range", [](Program& p) { p.output = 6; },
       "small: the output is not a written slot as wide as the vocabulary"},
      {"output of another width", [](Program& p) { p.output = 4; },
       "small: the output is not a written slot as wide as the vocabulary"},
      {"head removed", [](Program& p) { p.instructions.pop_back(); },
       "small: the output is not a written slot as wide as the vocabulary"},
      {"vocabulary of 1", [](Program& p) { p.vocab = 1; }, "--vocab: 1 is outside 2..65536"},
      {"vocabulary too large", [](Program& p) { p.vocab = 65537; }, "--vocab: 65537 is outside 2..65536"},
  };
  for (const Fault& fault : faults) {
    Program program = small();
    fault.make(program);
    EXPECT_EQ(refusal(program).substr(0, std::string(fault.message).size()), fault.message) << fault.name;
  }
}

TEST(Verify, RefusesPositionsWithoutAWindowAndOddHeads) {
  const auto message = [](std::int64_t window, std::int64_t width) {
    Builder b("p", 4, window);
    const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 4, width));
    const int q = b.rotate("q", e);
    return refusal(b.finish(b.matmul("logits", b.attend("a", q, q, e), 0, 16)));
  };
  EXPECT_EQ(message(1, 64), "accepted");
  EXPECT_EQ(message(1024, 192), "accepted");
  const struct {
    std::int64_t window, width;
    const char* answer;
  } rows[] = {
      {0, 64, "%1 q[64] = rotate %0: needs a window of positions"},
      {8, 65, "%1 q[65] = rotate %0: width 65 is no multiple of a head's 64"},
      {-1, 64, "--window: -1 is outside 0..1024; the table of rotary positions ends there"},
      {1025, 64, "--window: 1025 is outside 0..1024; the table of rotary positions ends there"},
  };
  for (const auto& row : rows) {
    const std::string said = message(row.window, row.width);
    EXPECT_EQ(said.substr(0, std::string(row.answer).size()), row.answer);
  }
}

// The sums of attention stay within their accumulators at the longest window, and the bounds are reached.
TEST(VerifyBounds, OfTheOpsOfATransformer) {
  Builder b("t", 4, exact::kMaxWindow);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 4, 64));
  const int x = b.bias("x", e, b.vector("b", TensorSpec::kUnstacked, 64, 0));
  const int g = b.gelu("g", x);
  const int v = b.rescale("v", g);
  const int q = b.rotate("q", v);
  const int a = b.attend("a", q, q, v);
  const Program p = b.finish(b.matmul("logits", b.add_rescale("s", a, x), 0, 16));
  const auto bounds = verify(p, {}).value();
  EXPECT_EQ(bounds[1].accumulator, 2 * 127);
  EXPECT_EQ(bounds[2].accumulator, 127);
  EXPECT_EQ(bounds[3].accumulator, 255 * 127);
  EXPECT_EQ(bounds[4].accumulator, (254 << 20) + (1 << 19));
  EXPECT_EQ(bounds[5].accumulator, 1 << 28);  // the weights; a score is at most 64·127²
  EXPECT_EQ(bounds[5].weighted, std::int64_t{127} << 28);
  EXPECT_EQ(bounds[6].accumulator, 255 * 254);
}

TEST(Verify, RefusesNoiseOutOfRange) {
  const struct {
    NoiseShape noise;
    const char* answer;
  } rows[] = {
      {{.rank = 0}, "--rank: 0 is outside 1..64"},
      {{.rank = 65}, "--rank: 65 is outside 1..64"},
      {{.rank = -1}, "--rank: -1 is outside 1..64"},
      {{.sigma_shift = -1}, "--sigma-shift: -1 is outside 0..16"},
      {{.sigma_shift = 17}, "--sigma-shift: 17 is outside 0..16"},
      {{.rank = 1, .sigma_shift = 0}, "accepted"},
      {{.rank = 64, .sigma_shift = 16}, "accepted"},
  };
  for (const auto& row : rows) {
    EXPECT_EQ(refusal(small(), row.noise).substr(0, std::string(row.answer).size()), row.answer);
  }
}

// One product over `cols` inputs, which come from an embedding.
Program product(std::int64_t cols) {
  Builder b("product", 2);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 2, cols));
  return b.finish(b.matmul("logits", e, b.matrix("H", TensorSpec::kUnstacked, 2, cols), 16));
}

// The largest magnitudes by docs/NUMERICS.md, "Bounds", in long double; they are whole numbers below 2^53.
long double largest_sum(std::int64_t cols, int rank, int sigma_shift) {
  const long double perturbation = 127.0L * 47 * 47 * static_cast<long double>(cols) * rank;
  return 127.0L * 127 * static_cast<long double>(cols) +
         std::floor(std::ldexp(perturbation, -4 - sigma_shift)) + 1;
}

TEST(VerifyBounds, LargestWidthAndRankOfAProduct) {
  const struct {
    NoiseShape noise;
    std::int64_t widest;
  } rows[] = {
      // floor((2^31 - 2) / (127² + 127·47²·r / 2^s)), about
      {{.rank = 1, .sigma_shift = 0}, 63793},
      {{.rank = 1, .sigma_shift = 4}, 124673},
      {{.rank = 64, .sigma_shift = 0}, 1886},
      {{.rank = 64, .sigma_shift = 16}, 133003},
  };
  for (const auto& [noise, widest] : rows) {
    SCOPED_TRACE(widest);
    EXPECT_LT(largest_sum(widest, noise.rank, noise.sigma_shift), 0x1p31L);
    EXPECT_GE(largest_sum(widest + 1, noise.rank, noise.sigma_shift), 0x1p31L);
    EXPECT_EQ(refusal(product(widest), noise), "accepted");
    const std::string message = refusal(product(widest + 1), noise);
    EXPECT_EQ(message.find("%1 logits[2] = matmul %0 H // 16: a sum could reach 2147"), 0u) << message;
    EXPECT_NE(message.find("over the accumulator's 2147483647"), std::string::npos) << message;
  }
  // By rank: at width 30000 and sigma_shift 0, the last rank that fits.
  EXPECT_EQ(refusal(product(30000), {.rank = 3, .sigma_shift = 0}), "accepted");
  EXPECT_NE(refusal(product(30000), {.rank = 4, .sigma_shift = 0}), "accepted");
  EXPECT_EQ(refusal(product(30000), {.rank = 4, .sigma_shift = 1}), "accepted");
}

TEST(VerifyBounds, OfEveryOp) {
  Builder b("all", 4);
  const int h = b.state("h", 200);
  const int e = b.embed("e", b.matrix("E", TensorSpec::kUnstacked, 4, 200));
  const int n = b.norm("n", e, b.vector("g", TensorSpec::kUnstacked, 200, 16), exact::Rounding::kFloor);
  const int a = b.add("a", n, h);
  const int f = b.add_bias("f", a, e, b.vector("b", TensorSpec::kUnstacked, 200, 0));
  const int g = b.gate("g", f, h);
  const int x = b.mix("x", f, g, e);
  const int r = b.relu("r", x);
  b.set_state(h, x);
  const int narrow = b.matmul("narrow", r, b.matrix("W", TensorSpec::kUnstacked, 3, 200), 1);
  const int n3 = b.norm("n3", narrow, b.vector("g3", TensorSpec::kUnstacked, 3, 16), exact::Rounding::kFloor);
  const Program p = b.finish(b.matmul("logits", n3, b.matrix("H", TensorSpec::kUnstacked, 4, 3), 1));

  const auto bounds = verify(p, {.rank = 5, .sigma_shift = 2});
  ASSERT_TRUE(bounds.ok()) << bounds.status().message();
  const std::int64_t square = 47 * 47;
  const Bounds expected[] = {
      {127 + 5 * square / 64 + 1, 0, 5 * square},  // embed
      {127 * 200, 0, 0},                           // norm: Σ|x| is larger
      {2 * 127, 0, 0},                             // add
      {3 * 127, 0, 0},                             // add_bias
      {254 * 127, 0, 0},                           // gate
      {254 * 254, 0, 0},                           // mix
      {127, 0, 0},                                 // relu
      {200 * 127 * 127 + 200 * 127 * square * 5 / 64 + 1, 200 * 127 * 47, 200 * 127 * square * 5},  // matmul
      {127 * 127, 0, 0},  // norm: x·w is larger
      {3 * 127 * 127 + 3 * 127 * square * 5 / 64 + 1, 3 * 127 * 47, 3 * 127 * square * 5},  // head
  };
  ASSERT_EQ(bounds.value().size(), std::size(expected));
  for (std::size_t i = 0; i < std::size(expected); ++i) {
    EXPECT_EQ(bounds.value()[i].accumulator, expected[i].accumulator)
        << print_instruction(p, static_cast<int>(i));
    EXPECT_EQ(bounds.value()[i].projection, expected[i].projection) << i;
    EXPECT_EQ(bounds.value()[i].perturbation, expected[i].perturbation) << i;
  }
}

// The bound of a product is reached: all inputs 127, all weights -127, all noise at its end, and the floor of
// a negative perturbation takes the last unit, where 2^s does not divide it.
TEST(VerifyBounds, OfAProductIsTight) {
  for (const std::int64_t cols : {1, 3, 200, 1886}) {
    for (const NoiseShape noise : {NoiseShape{1, 4}, NoiseShape{64, 0}, NoiseShape{5, 3}}) {
      const auto bounds = verify(product(cols), noise);
      ASSERT_TRUE(bounds.ok());
      std::int64_t sum = 0, projection = 0;
      for (std::int64_t k = 0; k < cols; ++k) {
        sum += 127 * -127;
        projection += 127 * -exact::kNoiseMax;
      }
      std::int64_t perturbation = 0;
      for (int j = 0; j < noise.rank; ++j) perturbation += projection * exact::kNoiseMax;
      const int shift = 4 + noise.sigma_shift;
      const bool divides = perturbation % (1 << shift) == 0;
      const Bounds& head = bounds.value()[1];
      EXPECT_EQ(head.projection, -projection);
      EXPECT_EQ(head.perturbation, -perturbation);
      EXPECT_EQ(head.accumulator, -(sum + exact::shift_floor(perturbation, shift)) + (divides ? 1 : 0));
    }
  }
}

// No width, rank or shift that verify() lets through leaves the wider accumulator of (x·B)·Aᵀ.
TEST(VerifyBounds, PerturbationsStayBelow2To62) {
  for (const int rank : {1, 64}) {
    for (std::int64_t cols = 1; cols <= 1 << 20; cols *= 2) {
      const auto bounds = verify(product(cols), {.rank = rank, .sigma_shift = 16});
      if (bounds.ok()) {
        EXPECT_LT(bounds.value()[1].perturbation, std::int64_t{1} << 62);
      }
    }
  }
}

}  // namespace
}  // namespace clutch
