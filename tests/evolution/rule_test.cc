// The rule that moves weights: the alpha schedule against rationals, the threshold against real arithmetic,
// and the share of weights that an update by the reference backend moves.
#include "evolution/rule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "backend/select.h"
#include "exact/arithmetic.h"
#include "models/model.h"

namespace clutch {
namespace {

constexpr std::uint32_t kOne = 1u << 30;

TEST(Schedule, IsTheRationalRoundedDown) {
  for (const std::uint32_t start : {1u, 2u, 12345u, kOne / 3, kOne / 2, kOne}) {
    for (const std::uint64_t decay : {0ULL, 1ULL, 2147483ULL, 1ULL << 29, (1ULL << 30) - 1}) {
      std::uint64_t before = kOne;
      for (const std::uint64_t step :
           {0ULL, 1ULL, 2ULL, 3ULL, 10ULL, 999ULL, 1000000ULL, 1ULL << 31, (1ULL << 32) - 1}) {
        const std::uint64_t alpha = Schedule{.start_q30 = start, .decay_q30 = decay}.at(step);
        const auto wide = static_cast<unsigned __int128>(start) * kOne;
        const auto divisor = static_cast<unsigned __int128>(decay) * step + kOne;
        const auto expected = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wide / divisor));
        ASSERT_EQ(alpha, expected) << start << " " << decay << " " << step;
        ASSERT_LE(alpha, before) << "it never rises";
        before = alpha;
      }
    }
  }
  EXPECT_EQ((Schedule{.start_q30 = kOne / 2, .decay_q30 = kOne / 2}.at(2)), kOne / 4);
  EXPECT_EQ((Schedule{.start_q30 = kOne / 2}.at(1u << 31)), kOne / 2);
}

long double real_quantile(long double alpha) {
  long double low = 0, high = 8;
  for (int i = 0; i < 70; ++i) {
    const long double middle = (low + high) / 2;
    (std::erfc(middle / std::sqrt(2.0L)) > alpha ? low : high) = middle;
  }
  return low;
}

// z has an error of 2^-11, the root one of 1/256 of a deviation, the product one of 1.
TEST(VoteThreshold, IsNearTheRealOne) {
  std::mt19937_64 random(2);
  for (const int pairs : {1, 2, 3, 31, 1000}) {
    for (const int most : {1, 127}) {
      std::vector<std::int8_t> fitness(pairs);
      long double squares = 0;
      for (auto& f : fitness) {
        f = static_cast<std::int8_t>(static_cast<int>(random() % (2 * most + 1)) - most);
        squares += f * f;
      }
      for (const int rank : {1, 2, 9, 64}) {
        for (const std::uint32_t alpha : {1000u, 1u << 20, kOne / 10, kOne / 2, kOne * 9 / 10, kOne}) {
          const long double z = real_quantile(alpha * 0x1p-30L), deviation = 256 * std::sqrt(squares * rank);
          const auto threshold = static_cast<long double>(vote_threshold(alpha, fitness, rank));
          ASSERT_LT(std::fabs(threshold - z * deviation), 0x1p-11L * deviation + z + 2)
              << pairs << " pairs, fitness up to " << most << ", rank " << rank << ", alpha " << alpha;
        }
      }
    }
  }
}

TEST(Rule, NamesAreFound) {
  for (std::size_t i = 0; i < std::size(exact::kRules); ++i) {
    EXPECT_EQ(find_rule(exact::kRules[i].name), static_cast<exact::Rule>(i));
  }
  EXPECT_FALSE(find_rule("adam").has_value());
  EXPECT_EQ(exact::entry(exact::Rule::threshold).state_count(), 0);
  EXPECT_EQ(exact::entry(exact::Rule::momentum).state_count(), 2);
}

// Deviations of every size, votes up to the limit and beyond.
TEST(VoteScale, IsNearTheRealOneAndBounded) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 20000; ++round) {
    const std::uint64_t deviation = 256 + random() % (std::uint64_t{1} << (8 + random() % 19));
    const exact::VoteScale scale = exact::make_vote_scale(deviation);
    const auto limit = static_cast<std::int64_t>(8 * deviation);
    for (const std::int64_t vote :
         {static_cast<std::int64_t>(random() % (2 * limit + 1)) - limit, limit, -limit, limit + 9,
          std::int64_t{0}, std::int64_t{INT32_MAX}, -std::int64_t{INT32_MAX}}) {
      const auto v = exact::scale_vote(scale, static_cast<std::int32_t>(vote));
      const double real = std::clamp(static_cast<double>(vote) / static_cast<double>(deviation), -8.0, 8.0);
      ASSERT_LE(std::abs(v), (1 << 15) + 1) << deviation << " " << vote;
      ASSERT_NEAR(v / 4096.0, real, (2.0 + 2 * std::fabs(real)) / 4096) << deviation << " " << vote;
    }
  }
  EXPECT_EQ(exact::scale_vote(exact::make_vote_scale(0), 0), 0);
}

// From the ends of every range, by extreme votes and constants, nothing leaves 32 bits (the sanitizers watch)
// and limits hold.
TEST(Rule, StaysInItsLimits) {
  std::mt19937_64 random(5);
  for (const exact::RuleEntry& entry : exact::kRules) {
    const exact::Rule rule = *find_rule(entry.name);
    for (int round = 0; round < 400; ++round) {
      const auto either = [&](auto a, auto b) { return random() % 2 == 0 ? a : b; };
      const exact::RuleStep step{
          .rule = rule,
          .threshold = either(0, 1000),
          .scale = exact::make_vote_scale(256 + random() % 5000),
          .forget_q14 = either(1 << exact::kForgetBits, 1 + static_cast<int>(random() % 900)),
          .forget_square_q14 = either(1 << exact::kForgetBits, 16),
          .rate_q12 = either(exact::kMaxRate, static_cast<int>(random() % 4096)),
          .decay_q24 = either(exact::kMaxDecay, 0)};
      std::int32_t state[exact::kMaxRuleStates] = {}, weight = either(127, -127);
      for (int k = 0; k < entry.state_count(); ++k)
        state[k] = either(entry.states[k].least, entry.states[k].most);
      for (int i = 0; i < 300; ++i) {
        const std::int32_t vote = random() % 4 == 0 ? static_cast<std::int32_t>(random() % 2000) - 1000
                                                    : (i / 100 % 2 == 0 ? INT32_MAX : -INT32_MAX);
        weight = exact::apply_rule(rule, step, vote, state, weight);
        ASSERT_LE(std::abs(weight), 127);
        for (int k = 0; k < entry.state_count(); ++k) {
          ASSERT_GE(state[k], entry.states[k].least) << entry.name << " " << entry.states[k].name;
          ASSERT_LE(state[k], entry.states[k].most) << entry.name << " " << entry.states[k].name;
        }
      }
    }
  }
}

TEST(AdamW, TheRootIsTheFloor) {
  std::mt19937_64 random(6);
  for (std::int32_t x = 0; x < 100000; ++x)
    ASSERT_EQ(exact::root32(x), static_cast<std::int32_t>(exact::square_root_floor(x)));
  for (int i = 0; i < 100000; ++i) {
    const auto x = static_cast<std::int32_t>(random() % INT32_MAX);
    ASSERT_EQ(exact::root32(x), static_cast<std::int32_t>(exact::square_root_floor(x)));
  }
}

// Against real arithmetic: bias correction from the first step on, moments, decay.
TEST(AdamW, IsNearTheRealOne) {
  std::mt19937_64 random(7);
  const std::vector<std::int8_t> fitness(16, 1);  // a deviation of 1024
  Optimiser adamw;
  adamw.rule = exact::Rule::adamw, adamw.forget_q14 = 1638, adamw.forget_square_q14 = 16;
  adamw.rate = {.start_q30 = kOne / 4}, adamw.decay_q30 = kOne / 100;
  const double keep = 1 - 1638 / 16384.0, keep_square = 1 - 16 / 16384.0;
  std::int32_t state[3] = {}, weight = 0;
  double mean = 0, square = 0, real = 0;
  for (int t = 0; t < 2000; ++t) {
    const auto vote = static_cast<std::int32_t>(random() % 6000) - 2600;
    weight = exact::apply_rule(exact::Rule::adamw, adamw.at(t, fitness, 1), vote, state, weight);
    const double v = vote / 1024.0;
    mean += (v - mean) * (1 - keep), square += (v * v - square) * (1 - keep_square);
    const double unbiased = mean / (1 - std::pow(keep, t + 1));
    const double root = std::sqrt(square / (1 - std::pow(keep_square, t + 1)));
    real += 0.25 * unbiased / root - 0.0025 * static_cast<double>(weight);
    real = std::clamp(real, -127.5, 127.5);
    ASSERT_NEAR(weight, real, 1.5) << t;
  }
  EXPECT_GT(weight, 10);
}

TEST(Schedule, CoolsDownToNothing) {
  const Schedule s{.shape = ScheduleShape::constant, .start_q30 = kOne, .length = 10, .cooldown = 4};
  EXPECT_EQ(s.at(5), kOne);
  EXPECT_EQ(s.at(6), std::uint64_t{kOne} * 4 / 5);
  EXPECT_EQ(s.at(9), kOne / 5);
  EXPECT_EQ(s.at(10), 1u);
  EXPECT_EQ(s.at(1u << 31), 1u);
  const Schedule short_one{.shape = ScheduleShape::constant, .start_q30 = kOne, .length = 2, .cooldown = 4};
  EXPECT_EQ(short_one.at(0), std::uint64_t{kOne} * 2 / 5) << "a cooldown longer than all begins on its way";
  const Schedule longest{.shape = ScheduleShape::constant,
                         .start_q30 = std::uint64_t{1} << 33,
                         .length = 1u << 31,
                         .cooldown = 1u << 30};
  EXPECT_NEAR(static_cast<double>(longest.at(1u << 30)), 0x1p33, 1000) << "no overflow";
}

TEST(Schedule, CosineAndWarmup) {
  const Schedule cosine{.shape = ScheduleShape::cosine, .start_q30 = 3ull << 30, .length = 1000};
  for (const int t : {0, 1, 3, 250, 500, 999, 1000, 5000}) {
    const double real = 1.5 * (1 + std::cos(std::acos(-1.0) * std::min(t, 1000) / 1000));
    EXPECT_NEAR(static_cast<double>(cosine.at(t)) / kOne, real, 1e-4) << t;
  }
  EXPECT_EQ(cosine.at(0), 3ull << 30);
  EXPECT_EQ(cosine.at(1u << 30), 1u);
  const Schedule root{.shape = ScheduleShape::root, .start_q30 = 3ull << 30, .decay_q30 = kOne / 50};
  for (const int t : {0, 1, 3, 250, 5000, 100000000}) {
    EXPECT_NEAR(static_cast<double>(root.at(t)) / kOne, 3 / std::sqrt(1 + t / 50.0), 1e-4) << t;
  }
  Schedule warm{.shape = ScheduleShape::constant, .start_q30 = kOne, .decay_q30 = 77, .warmup = 4};
  EXPECT_EQ(warm.at(0), kOne / 4);
  EXPECT_EQ(warm.at(2), kOne / 4 * 3);
  EXPECT_EQ(warm.at(3), kOne);
  EXPECT_EQ(warm.at(99), kOne);
  const Schedule longest{.shape = ScheduleShape::cosine,
                         .start_q30 = std::uint64_t{1} << 33,
                         .length = 1u << 31,
                         .warmup = 1u << 30};
  EXPECT_NEAR(static_cast<double>(longest.at((1u << 30) - 1)), 0x1p32, 1000) << "no overflow";
}

// Fractions of steps add up: a constant vote moves a weight by rate · votes in deviations.
TEST(Momentum, FractionsAddUp) {
  const exact::RuleStep step{.rule = exact::Rule::momentum,
                             .scale = exact::make_vote_scale(1024),
                             .forget_q14 = 1 << exact::kForgetBits,
                             .rate_q12 = 41};
  std::int32_t state[2] = {}, weight = 0;
  for (int i = 0; i < 1000; ++i) weight = exact::apply_rule(exact::Rule::momentum, step, 1536, state, weight);
  EXPECT_EQ(weight, 15);  // 1000 · 1.5 · 41/4096 = 15.01
}

TEST(VoteThreshold, Ends) {
  const std::vector<std::int8_t> ones(100, 1), none(100, 0), extreme(1 << 20, 127);
  EXPECT_EQ(vote_threshold(kOne, ones, 1), 0) << "alpha 1 moves all that have any vote";
  EXPECT_EQ(vote_threshold(1000, none, 64), 0);
  EXPECT_EQ(vote_threshold(1, ones, 1), 5 * 256 * 10) << "at most five deviations";
  EXPECT_EQ(vote_threshold(1, extreme, 64), 5LL * 256 * 127 * 1024 * 8) << "no overflow";
  EXPECT_EQ(vote_threshold(kOne / 2, ones, 1), 44205LL * 2560 >> 16);  // z of clutch2.py
}

// Fitness by chance, with ties: the share of elements that move is near alpha. Votes of 64 pairs are not
// quite normal: products of two factors have a heavy tail, which at alpha 0.02 is worth up to a tenth more.
TEST(VoteThreshold, LetsAboutAShareAlphaMove) {
  const Program program = build_program({.dim = 48, .layers = 1, .vocab = 60}, {}).value();
  Weights weights;
  for (const TensorSpec& tensor : program.tensors) weights.emplace_back(tensor.size());
  std::mt19937_64 random(11);
  for (const int rank : {1, 4}) {
    for (const int most : {1, 127}) {
      for (const double alpha : {0.02, 0.2, 0.5, 0.9}) {
        std::uint64_t moved = 0, elements = 0;
        for (std::uint32_t epoch = 0; epoch < 4; ++epoch) {
          auto backend = make_backend("reference", 1).value();
          ASSERT_TRUE(backend->load(program, {.rank = rank}, weights).ok());
          std::vector<std::int8_t> fitness(64);
          for (auto& f : fitness)
            f = static_cast<std::int8_t>(static_cast<int>(random() % (2 * most + 1)) - most);
          const auto alpha_q30 = static_cast<std::uint32_t>(alpha * kOne);
          const std::int64_t threshold = vote_threshold(alpha_q30, fitness, rank);
          ASSERT_TRUE(
              backend
                  ->update({.noise = {.seed = 4, .epoch = epoch},
                            .fitness = fitness,
                            .matrix = {.threshold = threshold, .scale = {}},
                            .vector = {.threshold = vote_threshold(alpha_q30, fitness, 1), .scale = {}}})
                  .ok());
          Weights after;
          ASSERT_TRUE(backend->read_weights(after).ok());
          for (std::size_t t = 0; t < after.size(); ++t) {
            elements += after[t].size();
            for (const std::int8_t w : after[t]) moved += w != 0;
          }
        }
        const double share = static_cast<double>(moved) / static_cast<double>(elements);
        EXPECT_NEAR(share, alpha, alpha * (alpha < 0.1 ? 0.12 : 0.025))
            << "rank " << rank << ", fitness up to " << most;
      }
    }
  }
}

}  // namespace
}  // namespace clutch
