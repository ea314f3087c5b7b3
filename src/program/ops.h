// The op list: one line per op, from which names, operand checks, the printer and docs/OPS.md derive.
// Adding an op starts here; CONTRIBUTING.md has the recipe.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace clutch {

enum class TensorKind : std::uint8_t { kNone, kMatrix, kVector };

// What else an op depends on: fields of its instruction, or the token's position in the program's window.
enum class Attribute : std::uint8_t { kNone, kDivisor, kRounding, kPosition };

// X(name, slots read, kind of tensor, attribute, formula)
// In formulas: x, y, z are the slots read, in order; W a matrix [N][K], w a vector [N]; both are the member's
// own, that is perturbed (docs/NUMERICS.md); // divides by rounding down; clip limits to [-127, 127].
#define CLUTCH_OPS(X)                                                                                 \
  X(embed, 0, kMatrix, kNone, "clip(W[token][n]), the row of the input token")                        \
  X(matmul, 1, kMatrix, kDivisor, "clip((sum_k x[k] * W[n][k]) // divisor)")                          \
  X(norm, 1, kVector, kRounding,                                                                      \
    "clip((x[n] * w[n]) / max(1, (sum_k abs(x[k])) // N)), divided by rounding")                      \
  X(add, 2, kNone, kNone, "clip(x[n] + y[n])")                                                        \
  X(add_bias, 2, kVector, kNone, "clip(x[n] + y[n] + w[n])")                                          \
  X(gate, 2, kNone, kNone, "((x[n] + 127) * y[n]) // 256")                                            \
  X(mix, 3, kNone, kNone, "y[n] + ((x[n] + 127) * (z[n] - y[n])) // 256")                             \
  X(relu, 1, kNone, kNone, "max(x[n], 0)")                                                            \
  X(bias, 1, kVector, kNone, "clip(x[n] + w[n])")                                                     \
  X(gelu, 1, kNone, kNone, "16 * gelu(x[n] / 16), rounded to the nearest, by table")                  \
  X(rescale, 1, kNone, kNone,                                                                         \
    "(254 * x[n] + m) // (2 * m) with m = max_k abs(x[k]): 127 * x[n] / m, halves up; 0 where m = 0") \
  X(add_rescale, 2, kNone, kNone, "rescale of x[n] + y[n], which is not clipped before")              \
  X(rotate, 1, kNone, kPosition,                                                                      \
    "rescale of x with each head's pairs turned by the angles of the token's position")               \
  X(attend, 3, kNone, kPosition,                                                                      \
    "(sum_p e[p] * z[p][n]) // (sum_p e[p]) over the window's positions p so far, of n's head, with " \
    "s[p] = (sum_k x[k] * y[p][k]) // 256 and e[p] = 2^18 * exp((s[p] - max s) / 6) by table")

enum class Op : std::uint8_t {
#define CLUTCH_OP_ENUM(name, ...) name,
  CLUTCH_OPS(CLUTCH_OP_ENUM)
#undef CLUTCH_OP_ENUM
};

struct OpInfo {
  std::string_view name;
  int slots_read;
  TensorKind tensor;
  Attribute attribute;
  std::string_view formula;
};

inline constexpr OpInfo kOps[] = {
#define CLUTCH_OP_INFO(name, reads, tensor, attribute, formula) \
  {#name, reads, TensorKind::tensor, Attribute::attribute, formula},
    CLUTCH_OPS(CLUTCH_OP_INFO)
#undef CLUTCH_OP_INFO
};
inline constexpr int kOpCount = static_cast<int>(std::size(kOps));

constexpr const OpInfo& info(Op op) { return kOps[static_cast<int>(op)]; }

// docs/OPS.md, as a whole; a test holds the file against it.
std::string ops_markdown();

}  // namespace clutch
