#include "backend/conformance_cases.h"

#include <fmt/format.h>

#include <optional>

#include "backend/random_program.h"
#include "evolution/rule.h"
#include "exact/attention.h"
#include "models/model.h"
#include "program/builder.h"

namespace clutch::testing {
namespace {

using parity::Case;
using parity::Start;

constexpr NoiseShape kShapes[] = {{1, 4}, {3, 2}, {1, 0}, {9, 8}};
constexpr std::int64_t kHeadWidths[] = {64, 128, 192, 320};

bool has_positions(Op op) { return info(op).attribute == Attribute::kPosition; }

// The op on a token's row and, since backends run that another way, on a state. Nothing for an op that is not
// here: then a case must be written.
std::optional<Program> op_program(Op op, std::int64_t width, Random& random) {
  const std::int64_t vocab = random.in(2, 40), other = random.in(1, 150);
  Builder b(std::string(info(op).name), vocab, has_positions(op) ? random.in(1, 33) : 0);
  const int h = b.state("h", width);
  const auto matrix = [&](std::int64_t rows, std::int64_t cols) { return b.matrix("W", -1, rows, cols); };
  const auto vector = [&] { return b.vector("w", -1, width, static_cast<int>(random.in(-127, 127))); };
  const int x = b.embed("x", matrix(vocab, width));
  int y = x, z = kNothing;  // the op on x, and on h
  switch (op) {
    case Op::embed:
      z = b.add("z", x, h);
      break;
    case Op::matmul:
      y = b.matmul("y", b.matmul("mid", x, matrix(other, width), random.in(1, 3000)), matrix(width, other),
                   16);
      z = b.matmul("z", b.matmul("mid", h, matrix(other, width), 1 << random.in(0, 10)), matrix(width, other),
                   40);
      break;
    case Op::norm:
      y = b.norm("y", x, vector(), exact::Rounding::kFloor);
      z = b.norm("z", b.add("s", h, y), vector(), exact::Rounding::kTruncate);
      break;
    case Op::add:
      y = b.add("y", x, x);
      z = b.add("z", h, y);
      break;
    case Op::add_bias:
      y = b.add_bias("y", x, x, vector());
      z = b.add_bias("z", h, y, vector());
      break;
    case Op::gate:
      y = b.gate("y", x, x);
      z = b.gate("z", h, x);
      break;
    case Op::mix:
      y = b.mix("y", x, x, x);
      z = b.mix("z", x, h, y);
      break;
    case Op::relu:
      y = b.relu("y", x);
      z = b.relu("z", b.add("s", h, x));
      break;
    case Op::bias:
      y = b.bias("y", x, vector());
      z = b.bias("z", h, vector());
      break;
    case Op::gelu:
      y = b.gelu("y", x);
      z = b.gelu("z", b.add("s", h, x));
      break;
    case Op::rescale:
      y = b.rescale("y", x);
      z = b.rescale("z", b.add("s", h, x));
      break;
    case Op::add_rescale:
      y = b.add_rescale("y", x, x);
      z = b.add_rescale("z", h, y);
      break;
    case Op::rotate:
      y = b.rotate("y", x);
      z = b.rotate("z", b.add("s", h, x));
      break;
    case Op::attend:
      y = b.attend("y", x, x, x);
      z = b.attend("z", b.add("s", h, x), y, x);
      break;
  }
  if (z == kNothing) return {};
  b.set_state(h, z);
  return b.finish(b.matmul("logits", b.add("sum", y, z), matrix(vocab, width), random.in(1, 400)));
}

// Everything but the program and the shape of its noise at random.
Result<Case> fill(std::uint64_t seed, Program program, NoiseShape noise, std::uint32_t members = 0) {
  Case c;
  c.start.program = std::move(program);
  c.start.noise = verify(c.start.program, noise).ok() ? noise : NoiseShape{1, 8};
  const auto bounds = verify(c.start.program, c.start.noise);
  if (!bounds.ok()) return bounds.status();
  c.start.members = members;
  parity::randomise(seed, c.start);
  c.steps = parity::random_steps(seed, c.start, 1);
  return c;
}

void add_ops(std::uint64_t seed, std::vector<NamedCase>& list) {
  for (int i = 0; i < kOpCount; ++i) {
    const Op op = static_cast<Op>(i);
    const auto add = [&](std::size_t index, std::int64_t width) {
      const std::string group = fmt::format("op/{}", info(op).name);
      const std::uint64_t own = seed * 1000 + index;
      list.push_back({group, fmt::format("{}/{}", group, width), own, [=]() -> Result<Case> {
                        Random random(own);
                        auto program = op_program(op, width, random);
                        if (!program) {
                          return fail(group, "has no case",
                                      "write one into op_program() of tests/backend/conformance_cases.cc");
                        }
                        return fill(own, std::move(*program), kShapes[index % std::size(kShapes)],
                                    static_cast<std::uint32_t>(1 + 3 * (index % 5)));
                      }});
    };
    std::size_t index = 0;
    if (has_positions(op))
      for (const std::int64_t width : kHeadWidths) add(index++, width);
    else
      for (const std::int64_t width : kOddWidths) add(index++, width);
  }
}

// Small configs of an architecture, of which it need not accept all.
std::vector<ModelConfig> small_configs(const Architecture& architecture) {
  std::vector<ModelConfig> configs;
  for (const std::int64_t dim : {24, 64, 128}) {
    for (const char* dialect : {"nano-egg", "egg.c"}) {
      for (const char* activation : {"none", "relu"}) {
        ModelConfig config{.arch = architecture.name, .dim = dim, .layers = dim < 128 ? 2 : 1};
        config.vocab = dim < 64 ? 256 : 300;
        config.dialect = dialect, config.activation = activation;
        config.window = architecture.windowed ? dim / 4 : 0;
        if (build_program(config, NoiseShape()).ok()) configs.push_back(config);
      }
    }
  }
  return configs;
}

void add_architectures(std::uint64_t seed, std::vector<NamedCase>& list) {
  for (const Architecture& architecture : architectures()) {
    const std::string group = fmt::format("arch/{}", architecture.name);
    const auto configs = small_configs(architecture);
    if (configs.empty()) {
      list.push_back({group, group, seed, [=]() -> Result<Case> {
                        return fail(group, "accepts none of the small configs",
                                    "add one to small_configs() of tests/backend/conformance_cases.cc");
                      }});
    }
    for (std::size_t i = 0; i < configs.size(); ++i) {
      const ModelConfig config = configs[i];
      const std::uint64_t own = seed * 1000 + 100 + i;
      list.push_back({group, fmt::format("{}/{}-{}-{}", group, config.dim, config.dialect, config.activation),
                      own, [=]() -> Result<Case> {
                        const NoiseShape noise = kShapes[i % std::size(kShapes)];
                        auto program = build_program(config, noise);
                        if (!program.ok()) return program.status();
                        return fill(own, std::move(program).value(), noise, 6);
                      }});
    }
  }
}

// More pairs than votes are taken from at a time, and steps that follow on each other, by every rule.
Result<Case> many_pairs(std::uint64_t seed, exact::Rule rule) {
  Random random(seed);
  Builder b("small", 5);
  const int x = b.embed("x", b.matrix("E", -1, 5, 6));
  const int y = b.add_bias("y", x, x, b.vector("b", -1, 6, 1));
  Case c;
  c.start.program = b.finish(b.matmul("logits", y, b.matrix("head", -1, 5, 6), 64));
  c.start.weights = random_weights(random, c.start.program);
  c.start.memory.rule = rule;
  Optimiser optimiser;
  optimiser.rule = rule;
  optimiser.decay_q30 = 1 << 26;
  for (std::uint64_t step = 0; step < 3; ++step) {
    parity::Update update;
    update.noise = {.seed = seed, .epoch = static_cast<std::uint32_t>(step)};
    update.fitness.resize(step == 0 ? 17'000 : 333);
    for (auto& f : update.fitness) f = static_cast<std::int8_t>(random.in(-127, 127));
    update.matrix = optimiser.at(step, update.fitness, 1);
    update.vector = optimiser.at(step, update.fitness, 1);
    c.steps.push_back({{}, update});
  }
  return c;
}

// Products over so many inputs that projections need more than 24 bits, in a chunk and between states, and
// divisors beyond a 16-bit multiplier.
Program wide_products(std::int64_t divisor) {
  Builder b("wide", 20);
  const int h = b.state("h", 3000);
  const int x = b.embed("x", b.matrix("E", -1, 20, 3000));
  const int y = b.matmul("y", x, b.matrix("W", -1, 70, 3000), divisor);
  const int z = b.matmul("z", h, b.matrix("U", -1, 70, 3000), divisor);
  b.set_state(h, b.matmul("up", b.add("s", y, z), b.matrix("V", -1, 3000, 70), 40));
  return b.finish(b.matmul("logits", y, b.matrix("head", -1, 20, 70), 64));
}

// Biases beside norms, GELUs and rescaled sums, which a backend may compute together; and where it may not,
// since something else reads the slot between them: another instruction, a state, the same instruction twice.
Program biases(std::int64_t width, exact::Rounding rounding) {
  Builder b("biases", 30);
  int vectors = 0;
  const auto vector = [&] { return b.vector("v" + std::to_string(vectors++), -1, width, 5); };
  const int h = b.state("h", width), s = b.state("s", width);
  const int x = b.embed("x", b.matrix("E", -1, 30, width));
  const int n = b.bias("n", b.norm("scaled", x, vector(), rounding), vector());
  const int w = b.matmul("w", n, b.matrix("W", -1, width, width), 100);
  const int g = b.gelu("g", b.bias("up", w, vector()));
  const int r = b.add_rescale("r", x, b.bias("down", g, vector()));
  const int both = b.bias("both", b.norm("n2", r, vector(), rounding), vector());
  const int g2 = b.gelu("g2", both);  // the norm takes the bias
  const int twice = b.bias("twice", g2, vector());
  const int r2 = b.add_rescale("r2", twice, twice);
  const int first = b.add_rescale("first", b.bias("left", r2, vector()), r);  // as first operand
  const int kept = b.norm("kept", first, vector(), rounding);
  const int k2 = b.add("k2", b.bias("k1", kept, vector()), kept);
  // Between a state and its next value, with one part of a pair outside.
  const int outer = b.norm("outer", k2, vector(), rounding);
  const int inner = b.bias("inner", b.norm("ninner", h, vector(), rounding), vector());
  const int u = b.matmul("u", inner, b.matrix("U", -1, width, width), 100);
  const int o = b.add_rescale("o", u, b.bias("outer_bias", outer, vector()));
  const int next = b.bias("next", b.norm("last", o, vector(), rounding), vector());
  b.set_state(h, next);
  b.set_state(s, b.bias("of_state", s, vector()));
  const int end = b.gelu("end", b.bias("before_end", b.relu("relu", next), vector()));
  return b.finish(b.matmul("logits", b.add("sum", end, s), b.matrix("head", -1, 30, width), 64));
}

// Sums with a bias before gates and mixes, which a backend may compute together; and where it may not, since
// something else reads the sum first, or it is another operand, or more than one.
Program sums(std::int64_t width) {
  Builder b("sums", 30);
  int vectors = 0;
  const auto sum = [&](const std::string& name, int x, int y) {
    return b.add_bias(name, x, y, b.vector("v" + std::to_string(vectors++), -1, width, 5));
  };
  const int h = b.state("h", width);
  const int x = b.embed("x", b.matrix("E", -1, 30, width));
  const int f = sum("f", x, h), g = b.gate("g", f, h);
  const int c = sum("c", x, b.matmul("u", g, b.matrix("U", -1, width, width), 100));
  const int next = b.mix("next", f, h, c);
  b.set_state(h, next);
  const int f2 = sum("f2", next, x), g2 = b.gate("g2", f2, next), m2 = b.mix("m2", f2, next, g2);
  const int f3 = sum("f3", m2, x), g3 = b.gate("g3", f3, f3);
  const int f4 = sum("f4", g3, x), g4 = b.gate("g4", m2, f4);
  const int f5 = sum("f5", g4, m2), m5 = b.mix("m5", f5, g4, f5);
  const int f6 = sum("f6", m5, x), m6 = b.mix("m6", x, g4, f6);
  const int f7 = sum("f7", m6, x), m7 = b.mix("m7", m5, m6, f7), a7 = b.add("a7", f7, m7);
  const int f8 = sum("f8", a7, m6), between = b.add("between", f8, x), g8 = b.gate("g8", f8, between);
  const int m8 = b.mix("m8", g8, f8, between);
  return b.finish(b.matmul("logits", b.add("sum", m8, next), b.matrix("head", -1, 30, width), 64));
}

// Attention over long windows, with queries in chunks of many lengths.
Program long_window(std::int64_t window) {
  Builder b("long", 40, window);
  const int x = b.embed("x", b.matrix("E", -1, 40, 64));
  const int q = b.rotate("q", x), k = b.rescale("k", x);
  const int seen = b.attend("seen", q, k, x), last = b.attend("last", seen, seen, k);
  return b.finish(b.matmul("logits", b.add_rescale("sum", seen, last), 0, 64));
}

Result<Case> long_case(std::uint64_t seed, std::int64_t window) {
  auto c = fill(seed, long_window(window), NoiseShape(), 2);
  if (!c.ok()) return c;
  Random random(seed);
  parity::Evaluation& evaluation = *c.value().steps[0].evaluation;
  evaluation.length = static_cast<std::uint32_t>(window) + 30;
  evaluation.text = random_text(random, evaluation.length + 1, 40);
  for (std::size_t t = 1; t < evaluation.text.size(); ++t) {
    if (evaluation.text[t] == 0) evaluation.text[t] = 1;  // one document, as long as the window
  }
  evaluation.stream_of.assign(2, 0);
  return c;
}

}  // namespace

std::vector<NamedCase> conformance_cases(std::uint64_t seed, int cases) {
  std::vector<NamedCase> list;
  add_ops(seed, list);
  add_architectures(seed, list);
  for (std::size_t r = 0; r < std::size(exact::kRules); ++r) {
    const std::string group = fmt::format("rule/{}", exact::kRules[r].name);
    list.push_back({group, group, seed, [=] { return many_pairs(seed, static_cast<exact::Rule>(r)); }});
  }
  for (const std::int64_t divisor : {16 * 54, 16 * 181, 3}) {
    list.push_back({"shape/wide", fmt::format("shape/wide/{}", divisor), seed,
                    [=] { return fill(seed, wide_products(divisor), NoiseShape(), 4); }});
  }
  for (const std::int64_t window : {100, 512, 1024}) {
    list.push_back(
        {"shape/long", fmt::format("shape/long/{}", window), seed, [=] { return long_case(seed, window); }});
  }
  for (const std::int64_t width : {64, 100, 192}) {
    for (const auto rounding : {exact::Rounding::kFloor, exact::Rounding::kTruncate}) {
      const bool truncates = rounding == exact::Rounding::kTruncate;
      list.push_back({"shape/biases",
                      fmt::format("shape/biases/{}-{}", width, truncates ? "truncate" : "floor"), seed,
                      [=] { return fill(seed, biases(width, rounding), NoiseShape(), 6); }});
    }
  }
  for (const std::int64_t width : {64, 100, 192}) {
    list.push_back({"shape/sums", fmt::format("shape/sums/{}", width), seed,
                    [=] { return fill(seed, sums(width), NoiseShape(), 6); }});
  }
  for (int i = 0; i < cases; ++i) {
    const std::uint64_t own = seed + static_cast<std::uint64_t>(i);
    list.push_back({"random", fmt::format("random/{}", own), own,
                    [=]() -> Result<Case> { return parity::random_case(own); }});
  }
  return list;
}

}  // namespace clutch::testing
