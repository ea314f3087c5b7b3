// One member, one token: the formulas of docs/NUMERICS.md, op by op. Part of the reference backend alone.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "backend/backend.h"

namespace clutch::reference {

// The factors of one pair's noise on one tensor: component j of A at a[j * rows + n], of B at b[j * cols +
// k]. A vector has one component, A and B both [rows].
struct Factors {
  std::vector<std::int8_t> a, b;
};

std::vector<Factors> make_factors(const Program& program, const NoiseShape& shape, const NoiseSource& noise,
                                  std::uint32_t pair);

// One member's view of the model: the shared weights, and its own perturbation of them if it has one.
struct MemberView {
  const Program& program;
  const NoiseShape& shape;
  const Weights& weights;
  const std::vector<Factors>* factors;  // of its pair; null without noise
  int sign;                             // +1 or -1
};

using Slots = std::vector<std::vector<std::int8_t>>;  // by slot

// What an instruction may know besides slots.
struct TokenView {
  std::uint16_t token;        // the input
  std::int64_t position = 0;  // in the program's window
  // By instruction: attend's keys [window][width], then its values; null for others.
  const std::vector<std::int8_t*>& caches;
};

// Runs instruction `index` for a token, reading and writing slots and caches.
void execute(const MemberView& member, int index, const TokenView& at, Slots& slots);

// Adds pair's vote on a tensor to votes [rows * cols].
void add_votes(const TensorSpec& tensor, const NoiseShape& shape, const Factors& factors, int fitness,
               std::vector<std::int32_t>& votes);

}  // namespace clutch::reference
