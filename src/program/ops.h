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

// X(name, slots read, kind of tensor, has a divisor, has a rounding, formula)
// In formulas: x, y, z are the slots read, in order; W a matrix [N][K], w a vector [N]; both are the member's
// own, that is perturbed (docs/NUMERICS.md); // divides by rounding down; clip limits to [-127, 127].
#define CLUTCH_OPS(X)                                                                 \
  X(embed, 0, kMatrix, false, false, "clip(W[token][n]), the row of the input token") \
  X(matmul, 1, kMatrix, true, false, "clip((sum_k x[k] * W[n][k]) // divisor)")       \
  X(norm, 1, kVector, false, true,                                                    \
    "clip((x[n] * w[n]) / max(1, (sum_k abs(x[k])) // N)), divided by rounding")      \
  X(add, 2, kNone, false, false, "clip(x[n] + y[n])")                                 \
  X(add_bias, 2, kVector, false, false, "clip(x[n] + y[n] + w[n])")                   \
  X(gate, 2, kNone, false, false, "((x[n] + 127) * y[n]) // 256")                     \
  X(mix, 3, kNone, false, false, "y[n] + ((x[n] + 127) * (z[n] - y[n])) // 256")      \
  X(relu, 1, kNone, false, false, "max(x[n], 0)")

enum class Op : std::uint8_t {
#define CLUTCH_OP_ENUM(name, ...) name,
  CLUTCH_OPS(CLUTCH_OP_ENUM)
#undef CLUTCH_OP_ENUM
};

struct OpInfo {
  std::string_view name;
  int slots_read;
  TensorKind tensor;
  bool has_divisor, has_rounding;
  std::string_view formula;
};

inline constexpr OpInfo kOps[] = {
#define CLUTCH_OP_INFO(name, reads, tensor, divisor, rounding, formula) \
  {#name, reads, TensorKind::tensor, divisor, rounding, formula},
    CLUTCH_OPS(CLUTCH_OP_INFO)
#undef CLUTCH_OP_INFO
};
inline constexpr int kOpCount = static_cast<int>(std::size(kOps));

constexpr const OpInfo& info(Op op) { return kOps[static_cast<int>(op)]; }

// docs/OPS.md, as a whole; a test holds the file against it.
std::string ops_markdown();

}  // namespace clutch
