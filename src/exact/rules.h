// Rules: what a step's vote does to one weight. A rule is a function of the vote, of what the rule remembers
// of that weight (words of 32 bits, zero at the start) and of the weight; its constants are made once per
// step. Everything fits 32 bits in the stated ranges, so that a loop over weights vectorises.
// docs/NUMERICS.md has the formulas.
#pragma once

#include <cstdint>
#include <string_view>

#include "exact/arithmetic.h"

namespace clutch::exact {

// X(name, what it does, its state tensors as {name, least, most}...)
#define CLUTCH_RULES(X)                                                                                   \
  X(threshold, "a weight moves by one where its vote passes a threshold that about a share alpha passes") \
  X(momentum, "a running mean of the votes moves weights at a rate; fractions of a step are kept",        \
    {"momentum", -kMaxMomentum, kMaxMomentum}, {"fraction", -kMaxFraction, kMaxFraction})                 \
  X(carry, "votes add up until they are worth a step", {"fraction", -kMaxFraction, kMaxFraction})         \
  X(adamw, "the running mean over the root of the running mean square moves weights at a rate",           \
    {"momentum", -kMaxMomentum, kMaxMomentum}, {"square", kLeastSquare, kMaxSquare},                      \
    {"fraction", -kMaxFraction, kMaxFraction})

constexpr int kMaxRuleStates = 3;
constexpr int kVoteFractionBits = 12;         // of a vote in deviations
constexpr int kMaxVoteDeviations = 8;         // votes are cut there
constexpr int kMomentumExtraBits = 4;         // momentum has 16 fractional bits
constexpr int kMaxMomentum = (1 << 19) + 32;  // see run_mean()
constexpr int kSquareBits = 10;               // of a vote's square in deviations
constexpr int kSquareExtraBits = 8;           // their running mean has 18
constexpr int kMaxSquare = (1 << 24) + 2048;  // 256 · (2^16 + 5) + 129, see run_mean()
constexpr int kLeastSquare = -130;            // of rounding
constexpr int kStepFractionBits = 24;         // of a step's fraction
constexpr int kMaxFraction = 1 << (kStepFractionBits - 1);
constexpr int kForgetBits = 14;  // of 1 - momentum
constexpr int kRateBits = 12;
constexpr int kMaxRate = 8 << kRateBits;
constexpr int kMaxDecay = 1 << 22;  // a quarter of the weight

enum class Rule : std::uint8_t {
#define CLUTCH_RULE_ENUM(name, ...) name,
  CLUTCH_RULES(CLUTCH_RULE_ENUM)
#undef CLUTCH_RULE_ENUM
};

struct RuleStateEntry {
  std::string_view name = {};        // of its tensors: "<weight tensor>.<name>"
  std::int32_t least = 0, most = 0;  // no word is beyond
};

struct RuleEntry {
  std::string_view name, summary;
  RuleStateEntry states[kMaxRuleStates];
  constexpr int state_count() const {
    int count = 0;
    while (count < kMaxRuleStates && !states[count].name.empty()) ++count;
    return count;
  }
};

constexpr RuleEntry kRules[] = {
#define CLUTCH_RULE_ROW(name, summary, ...) {#name, summary, {__VA_ARGS__}},
    CLUTCH_RULES(CLUTCH_RULE_ROW)
#undef CLUTCH_RULE_ROW
};
constexpr const RuleEntry& entry(Rule rule) { return kRules[static_cast<int>(rule)]; }

// x / 2^bits rounded to the nearest, halves up; 0 <= bits.
[[gnu::always_inline]] constexpr std::int32_t round_shift(std::int32_t x, int bits) {
  return (x + (1 << bits >> 1)) >> bits;
}
[[gnu::always_inline]] constexpr std::int32_t within(std::int32_t x, std::int32_t limit) {
  return x > limit ? limit : x < -limit ? -limit : x;
}

// Votes in units of 2^-12 deviations.
struct VoteScale {
  std::int32_t limit = 0;  // 8 deviations
  int shift = 0;
  std::int32_t multiplier = 0;  // up to 2^15; 0 where no pair votes
  int bits = 0;
};

// Of a deviation of 0 or at least 1, below 2^27. With e = floor(log2 deviation): a vote within the limit,
// below 2^(e+4), is shifted to at most 2^15; times the multiplier floor(2^(15+e) / deviation) it is at most
// 2^30.
constexpr VoteScale make_vote_scale(std::uint64_t deviation) {
  if (deviation == 0) return {};
  const int e = log2_floor(deviation), shift = e > 11 ? e - 11 : 0;
  return {static_cast<std::int32_t>(kMaxVoteDeviations * deviation), shift,
          static_cast<std::int32_t>((std::uint64_t{1} << (15 + e)) / deviation), e - shift + 3};
}

// At most 2^15 + 1 in magnitude: the two roundings add up to less than 2.
[[gnu::always_inline]] constexpr std::int32_t scale_vote(const VoteScale& s, std::int32_t vote) {
  return round_shift(round_shift(within(vote, s.limit), s.shift) * s.multiplier, s.bits);
}

// The constants of a rule at one step, for tensors of one rank.
struct RuleStep {
  Rule rule = Rule::threshold;
  std::int64_t threshold = 0;  // threshold: |vote| above this moves
  VoteScale scale;
  std::int32_t forget_q14 = 0;         // 1 - momentum, in [0, 2^14]
  std::int32_t forget_square_q14 = 0;  // adamw: the same of the mean square
  std::int32_t rate_q12 = 0;           // steps per deviation, in [0, 2^15]
  std::int32_t decay_q24 = 0;          // of the weight per step, in [0, kMaxDecay]
};

// mean, with extra bits more than v, moved towards v by the share forget. Beyond 2^extra · max|v| + 2^(extra
// - 1) + 1 the mean never rises, which bounds it. Of votes, |v - mean| is at most 2^16 + 5, its product at
// most 2^30 + 2^17; of squares, which are not negative, the same.
[[gnu::always_inline]] constexpr std::int32_t run_mean(std::int32_t mean, int extra, std::int32_t v,
                                                       std::int32_t forget_q14) {
  return mean + round_shift((v - round_shift(mean, extra)) * forget_q14, kForgetBits - extra);
}

// floor(sqrt(x)), x < 2^31: square_root_floor() without a branch.
[[gnu::always_inline]] constexpr std::int32_t root32(std::int32_t x) {
  std::uint32_t root = 0;
#pragma GCC unroll 16
  for (std::uint32_t bit = 1u << 15; bit != 0; bit >>= 1) {
    const std::uint32_t next = root | bit;
    root = next * next <= static_cast<std::uint32_t>(x) ? next : root;
  }
  return static_cast<std::int32_t>(root);
}

// mean / (sqrt(square) + 2^-12) with 12 fractional bits, truncated, within 8: |mean| <= 2^15 + 2 and the
// square, of 18 bits, becomes one of 24 below 2^31.
[[gnu::always_inline]] constexpr std::int32_t normalise(std::int32_t mean, std::int32_t square) {
  const std::int32_t root =
      root32((square < 0 ? 0 : square) << (2 * kVoteFractionBits - kSquareBits - kSquareExtraBits));
  return within((mean << kVoteFractionBits) / (root + 1), kMaxVoteDeviations << kVoteFractionBits);
}

// Adds rate · direction, less the weight's decay, to the fraction (of 2^-24 steps) and takes the whole steps
// out of it into the weight. |direction| is at most 2^15 + 2: the sum stays below 2^30 + 2^16 + 127·2^22 +
// 2^23 < 2^31, and the fraction within half a step.
[[gnu::always_inline]] constexpr std::int32_t take_steps(const RuleStep& step, std::int32_t direction,
                                                         std::int32_t& fraction, std::int32_t weight) {
  const std::int32_t sum = fraction + direction * step.rate_q12 - weight * step.decay_q24,
                     steps = round_shift(sum, kStepFractionBits);
  fraction = sum - steps * (1 << kStepFractionBits);
  return within(weight + steps, kClip);
}

// The weight after a vote; state [entry(rule).state_count()] is read and replaced.
[[gnu::always_inline]] constexpr std::int32_t apply_rule(Rule rule, const RuleStep& step, std::int32_t vote,
                                                         std::int32_t* state, std::int32_t weight) {
  switch (rule) {
    case Rule::threshold:
      return within(weight + (vote > step.threshold) - (vote < -step.threshold), kClip);
    case Rule::momentum:
      state[0] = run_mean(state[0], kMomentumExtraBits, scale_vote(step.scale, vote), step.forget_q14);
      return take_steps(step, round_shift(state[0], kMomentumExtraBits), state[1], weight);
    case Rule::carry:
      return take_steps(step, scale_vote(step.scale, vote), state[0], weight);
    case Rule::adamw: {
      const std::int32_t v = scale_vote(step.scale, vote);
      state[0] = run_mean(state[0], kMomentumExtraBits, v, step.forget_q14);
      state[1] = run_mean(state[1], kSquareExtraBits, round_shift(v * v, 2 * kVoteFractionBits - kSquareBits),
                          step.forget_square_q14);
      const std::int32_t mean = round_shift(state[0], kMomentumExtraBits);
      return take_steps(step, normalise(mean, state[1]), state[2], weight);
    }
  }
  return weight;
}

}  // namespace clutch::exact
