// The rules over a row of weights, as loops that a compiler vectorises for the including translation unit.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"

namespace clutch::cpu {
namespace {

template <exact::Rule kRule>
std::int64_t move_by_rule(const RuleRows& rule, std::int64_t first, const std::int32_t* votes,
                          std::int8_t* weights, std::int64_t count) {
  constexpr int kStates = exact::entry(kRule).state_count();
  const exact::RuleStep step = *rule.step;
  std::int32_t* state[exact::kMaxRuleStates] = {};
  for (int k = 0; k < kStates; ++k) state[k] = rule.state[k] + first;
  std::int32_t moved = 0;
#pragma GCC ivdep
  for (std::int64_t i = 0; i < count; ++i) {
    std::int32_t words[exact::kMaxRuleStates] = {};
#pragma GCC unroll 8
    for (int k = 0; k < kStates; ++k) words[k] = state[k][i];
    const std::int32_t before = weights[i], after = exact::apply_rule(kRule, step, votes[i], words, before);
#pragma GCC unroll 8
    for (int k = 0; k < kStates; ++k) state[k][i] = words[k];
    weights[i] = static_cast<std::int8_t>(after);
    moved += after != before;
  }
  return moved;
}

// Moves weights [count] by their votes; their memory starts at element `first` of the rule's. Returns how
// many changed.
inline std::int64_t move_by_rule(const RuleRows& rule, std::int64_t first, const std::int32_t* votes,
                                 std::int8_t* weights, std::int64_t count) {
  switch (rule.step->rule) {
#define CLUTCH_RULE_CASE(name, ...) \
  case exact::Rule::name:           \
    return move_by_rule<exact::Rule::name>(rule, first, votes, weights, count);
    CLUTCH_RULES(CLUTCH_RULE_CASE)
#undef CLUTCH_RULE_CASE
  }
  return 0;
}

}  // namespace
}  // namespace clutch::cpu
