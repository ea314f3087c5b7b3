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
  std::vector<Instruction> instructions;  // in an order in which every slot is written before it is read
  int output = kNothing;                  // slot of the logits [vocab]

  std::int64_t parameters() const;   // elements of all tensors
  std::int64_t state_width() const;  // elements of all states of one member
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
