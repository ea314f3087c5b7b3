// The rules that turn votes into weight steps: which there are, their knobs, and the constants of a step.
// Votes V = Σ_p f_p · A_p · B_pᵀ (for a vector, the products a·b of its elements) have under chance the
// deviation 256 · sqrt(rank · Σ f²); rules measure them by it. What a rule does to a weight is exact/rules.h.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "evolution/schedule.h"
#include "exact/rules.h"

namespace clutch {

std::optional<exact::Rule> find_rule(std::string_view name);  // nothing where the name is unknown
std::vector<std::string_view> rule_names();

// floor(sqrt(rank · Σ f² · 2^16)): a vote's deviation under chance. The sum of squares of up to 2^24 int8
// fitnesses times a rank of up to 64 fits well below 2^47. For a vector the rank is 1: its perturbation is a
// single product.
std::uint64_t vote_deviation(std::span<const std::int8_t> fitness, int rank);

// floor(z · deviation / 2^16), z = normal_quantile_two_sided(alpha) with 16 fractional bits: about a share
// alpha of the votes is beyond it by chance.
std::int64_t vote_threshold(std::uint32_t alpha_q30, std::span<const std::int8_t> fitness, int rank);

// A rule with its knobs.
struct Optimiser {
  exact::Rule rule = exact::Rule::threshold;
  Schedule alpha;                       // threshold: the share of weights that move, at most 1
  Schedule rate;                        // the others: steps of a weight per deviation, at most 8
  std::int32_t forget_q14 = 819;        // momentum, adamw: what a step takes away of the running mean
  std::int32_t forget_square_q14 = 16;  // adamw: and of the mean square
  std::uint64_t decay_q30 = 0;          // of weights, per unit of rate; at most 2^30

  // The constants of step `step` (below 2^32) for tensors of a rank.
  exact::RuleStep at(std::uint64_t step, std::span<const std::int8_t> fitness, int rank) const;
};

}  // namespace clutch
