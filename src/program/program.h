// A model as a program: integer instructions over named slots, run once per token for every member of the
// population. It holds no loops over members, no device code and no arithmetic of its own; a backend
// interprets it. models/ builds programs, verify.h says which are legal, docs/NUMERICS.md what they compute.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "exact/arithmetic.h"
#include "program/ops.h"

namespace clutch {

// The type of a slot's or tensor's elements. Narrow on purpose; wider ones join here.
enum class Type : std::uint8_t { kInt8 };

// A parameter. A vector has cols == 1. Tensors of one name with layers 0, 1, … are stored stacked in files.
struct TensorSpec {
  static constexpr int kUnstacked = -1;
  static constexpr int kNoise = -128;  // initial values are noise, role kInitial

  std::string name;
  int layer = kUnstacked;
  TensorKind kind = TensorKind::kMatrix;
  std::int64_t rows = 0, cols = 0;  // [N][K], row-major
  int initial = kNoise;             // or a constant in [-127, 127]
  Type type = Type::kInt8;

  std::int64_t size() const { return rows * cols; }
  std::string label() const;  // "blocks.att.Wf[3]", or the name where it is not stacked
};

// A value of one token of one member: a row of `width` numbers. Written once per token.
struct Slot {
  std::string name;
  std::int64_t width = 0;
  Type type = Type::kInt8;
};

// A slot that carries over: at each token `read` holds what `write` held at the token before; zeros at the
// first token, and wherever the input token is 0 (a document starts).
struct State {
  int read = -1, write = -1;  // slots
};

// A program with a window W counts positions: a token's is 0 at the start, where the input token is 0, and
// after a token at position W - 1; else one more than the last token's. Each attend has a cache of keys and
// one of values: its slots' rows at the positions of the window so far. A member's states are those of
// `states`, then, with a window, the count c of positions in use as c mod 128 and c div 128, then per attend
// its keys [W][width] and its values [W][width], in which a row lasts until its position comes again.
constexpr std::int64_t kCountWidth = 2;

// A count as it is stored; one outside 0..window, which no run writes, stands for 0.
constexpr std::int64_t read_count(const std::int8_t* count, std::int64_t window) {
  const std::int64_t c = count[0] + 128 * count[1];
  return c < 0 || c > window ? 0 : c;
}
constexpr void write_count(std::int64_t c, std::int8_t* count) {
  count[0] = static_cast<std::int8_t>(c & 127);
  count[1] = static_cast<std::int8_t>(exact::shift_floor(c, 7));
}
// The position of the next token, where c positions are in use.
constexpr std::int64_t next_position(std::int64_t c, std::uint16_t token, std::int64_t window) {
  return token == 0 || c == window ? 0 : c;
}

constexpr int kNothing = -1;

struct Instruction {
  Op op{};
  int dst = kNothing;
  std::array<int, 3> in{kNothing, kNothing, kNothing};  // slots; as many as the op reads
  int tensor = kNothing;
  std::int64_t divisor = 1;                            // matmul
  exact::Rounding rounding = exact::Rounding::kFloor;  // norm
};

struct Program {
  std::string name;
  std::int64_t vocab = 0;
  std::vector<TensorSpec> tensors;
  std::vector<Slot> slots;
  std::vector<State> states;
  std::int64_t window = 0;                // W, 1 .. exact::kMaxWindow where an op needs positions; else 0
  std::vector<Instruction> instructions;  // in an order in which every slot is written before it is read
  int output = kNothing;                  // slot of the logits [vocab]

  std::int64_t parameters() const;   // elements of all tensors
  std::int64_t state_width() const;  // elements of all states of one member, caches included
  std::int64_t multiplies() const;   // multiply-accumulates of matrix products, per member and token
};

// Weights on the host: per tensor of the program, row-major.
using Weights = std::vector<std::vector<std::int8_t>>;

// A word of 32 bits for each weight, laid out as they are.
using Words = std::vector<std::vector<std::int32_t>>;

// The starting weights of a seed: noise of role kInitial with the seed's key (epoch and pair 0), or
// constants.
Weights initial_weights(const Program& program, std::uint64_t seed);

// Σ over tensors of exact::digest_tensor, modulo 2^64.
std::uint64_t digest(const Program& program, const Weights& weights);

}  // namespace clutch
