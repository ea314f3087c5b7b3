// The threshold rule: which weights move after a step. Votes V = Σ_p f_p · A_p · B_pᵀ (for a vector, the
// products a·b of its elements); a weight moves by sign(V) where |V| > threshold. Under chance a vote has the
// deviation 256 · sqrt(rank · Σ f²), so the threshold Φ⁻¹(1 - alpha/2) deviations lets about a share alpha of
// them move.
#pragma once

#include <cstdint>
#include <span>

namespace clutch {

// alpha at a step: start / (1 + decay · step), all with 30 fractional bits.
struct AlphaSchedule {
  std::uint32_t start_q30 = 1u << 29;  // (0, 2^30]
  std::uint64_t decay_q30 = 0;         // below 2^30 (1 per step)

  // floor(start · 2^30 / (2^30 + decay · step)), at least 1; step < 2^32.
  std::uint32_t at(std::uint64_t step) const;
};

// floor(z · s / 2^16), z = normal_quantile_two_sided(alpha) with 16 fractional bits, and
// s = floor(sqrt(rank · Σ f² · 2^16)), so that s / 2^8 · 256 is a vote's deviation under chance.
// The sum of squares of up to 2^24 int8 fitnesses times a rank of up to 64 fits well below 2^47.
// For a vector the rank is 1: its perturbation is a single product.
std::int64_t vote_threshold(std::uint32_t alpha_q30, std::span<const std::int8_t> fitness, int rank);

}  // namespace clutch
