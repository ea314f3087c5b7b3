// The judge of programs: shapes, order and overflow. A program that verify() accepts can be computed by any
// backend in any order of summation without a sum leaving its accumulator.
#pragma once

#include <cstdint>
#include <vector>

#include "base/status.h"
#include "program/program.h"

namespace clutch {

// How weights are perturbed: NUMERICS.md, "Perturbation".
struct NoiseShape {
  int rank = 1;         // 1 .. kMaxRank
  int sigma_shift = 4;  // 0 .. kMaxSigmaShift; one more halves the perturbation
};
constexpr int kMaxRank = 64;
constexpr int kMaxSigmaShift = 16;
constexpr int kNoiseFractionBits = 4;  // a product of two noise values is shifted by this plus sigma_shift

// Largest magnitudes one instruction can meet, whatever the weights, the noise and the text.
struct Bounds {
  std::int64_t accumulator = 0;   // of the sum before division; below 2^31
  std::int64_t projection = 0;    // x·B, per component; below 2^31
  std::int64_t perturbation = 0;  // (x·B)·Aᵀ before its shift; below 2^62
  std::int64_t weighted = 0;      // attend's sum of weighted values; below 2^62
};

// Bounds of each instruction, or the first fault, named by instruction as the printer shows it.
Result<std::vector<Bounds>> verify(const Program& program, const NoiseShape& noise);

}  // namespace clutch
