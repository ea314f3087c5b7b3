#include "evolution/rule.h"

#include "exact/arithmetic.h"
#include "exact/normal.h"

namespace clutch {

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
  constants.rate_q12 = static_cast<std::int32_t>(rate.at(step) >> (30 - exact::kRateBits));
  return constants;
}

}  // namespace clutch
