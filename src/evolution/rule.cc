#include "evolution/rule.h"

#include <algorithm>

#include "exact/arithmetic.h"
#include "exact/normal.h"

namespace clutch {
namespace {

constexpr std::uint64_t kOne = std::uint64_t{1} << 30;

// 1 - (1 - forget)^count with 30 fractional bits: squarings and products from count's lowest bit on, each
// rounded down. At least forget.
std::uint64_t worn_off(std::int32_t forget_q14, std::uint64_t count) {
  std::uint64_t kept = kOne,
                factor = kOne - (static_cast<std::uint64_t>(forget_q14) << (30 - exact::kForgetBits));
  for (; count != 0; count >>= 1) {
    if ((count & 1) != 0) kept = kept * factor >> 30;
    factor = factor * factor >> 30;
  }
  return kOne - kept;
}

// The running means begin at zero: after t = step + 1 votes the mean is short by 1 - momentum^t, the mean
// square likewise. rate · sqrt(the square's) / (the mean's), at most the largest rate.
std::uint64_t correct_bias(std::uint64_t rate_q30, std::uint64_t step, std::int32_t forget_q14,
                           std::int32_t forget_square_q14) {
  const std::uint64_t root = exact::square_root_floor(worn_off(forget_square_q14, step + 1) << 30);
  return std::min(std::uint64_t{exact::kMaxRate} << (30 - exact::kRateBits),
                  rate_q30 * root / worn_off(forget_q14, step + 1));
}

}  // namespace

std::optional<exact::Rule> find_rule(std::string_view name) {
  for (std::size_t i = 0; i < std::size(exact::kRules); ++i) {
    if (exact::kRules[i].name == name) return static_cast<exact::Rule>(i);
  }
  return std::nullopt;
}

std::vector<std::string_view> rule_names() {
  std::vector<std::string_view> names;
  for (const exact::RuleEntry& rule : exact::kRules) names.push_back(rule.name);
  return names;
}

std::uint64_t vote_deviation(std::span<const std::int8_t> fitness, int rank) {
  std::uint64_t squares = 0;
  for (const std::int8_t f : fitness) squares += static_cast<std::uint64_t>(f * f);
  return exact::square_root_floor(squares * static_cast<std::uint64_t>(rank) << 16);
}

std::int64_t vote_threshold(std::uint32_t alpha_q30, std::span<const std::int8_t> fitness, int rank) {
  return static_cast<std::int64_t>(
      exact::normal_quantile_two_sided(alpha_q30) * vote_deviation(fitness, rank) >> 16);
}

exact::RuleStep Optimiser::at(std::uint64_t step, std::span<const std::int8_t> fitness, int rank) const {
  exact::RuleStep constants{.rule = rule, .threshold = 0, .scale = {}};
  if (rule == exact::Rule::threshold) {
    constants.threshold = vote_threshold(static_cast<std::uint32_t>(alpha.at(step)), fitness, rank);
    return constants;
  }
  constants.scale = exact::make_vote_scale(vote_deviation(fitness, rank));
  constants.forget_q14 = forget_q14;
  constants.forget_square_q14 = forget_square_q14;
  const std::uint64_t rate_q30 = rate.at(step);
  std::uint64_t corrected_q30 = rate_q30;
  if (rule == exact::Rule::adamw) corrected_q30 = correct_bias(rate_q30, step, forget_q14, forget_square_q14);
  constants.rate_q12 = static_cast<std::int32_t>(corrected_q30 >> (30 - exact::kRateBits));
  constants.decay_q24 = static_cast<std::int32_t>(std::min<std::uint64_t>(
      exact::kMaxDecay, (rate_q30 * decay_q30 >> 30) >> (30 - exact::kStepFractionBits)));
  return constants;
}

}  // namespace clutch
