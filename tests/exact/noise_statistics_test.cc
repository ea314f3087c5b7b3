// Statistics of the noise, along a stream and along every part of a name, where seeds built by adding would
// correlate. Seeds are fixed, so a test passes or fails for good. Bounds are kSigmas = 5 standard errors;
// with about 6,000 comparisons in this file, a perfect generator exceeds one of them in 1 of 300 choices of
// seeds.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <string>
#include <vector>

#include "exact/noise.h"

namespace clutch::exact {
namespace {

constexpr double kSigmas = 5;

// Sequences of names: number i of a sequence differs from number i+1 in one part, carrying into another where
// the part is small.
struct Axis {
  const char* name;
  std::function<NoiseKey(std::uint32_t)> key;
};

const std::vector<Axis>& axes() {
  static const std::vector<Axis> list = {
      {"seed", [](std::uint32_t i) { return NoiseKey{.seed = i}; }},
      {"high half of the seed", [](std::uint32_t i) { return NoiseKey{.seed = std::uint64_t{i} << 32 | 9}; }},
      {"epoch", [](std::uint32_t i) { return NoiseKey{.seed = 1, .epoch = i}; }},
      {"pair", [](std::uint32_t i) { return NoiseKey{.seed = 1, .pair = i}; }},
      {"tensor",
       [](std::uint32_t i) {
         return NoiseKey{.seed = 1, .pair = i >> 16, .tensor = static_cast<std::uint16_t>(i)};
       }},
      {"component",
       [](std::uint32_t i) {
         return NoiseKey{.seed = 1, .pair = i >> 8, .component = static_cast<std::uint8_t>(i)};
       }},
      {"role",
       [](std::uint32_t i) {
         return NoiseKey{.seed = 1, .pair = i / 2, .role = i % 2 == 0 ? NoiseRole::kA : NoiseRole::kB};
       }},
  };
  return list;
}

// count values of one stream, and value `index` of count streams along an axis.
std::vector<std::int8_t> along_stream(const NoiseKey& key, std::uint32_t count) {
  std::vector<std::int8_t> values(count);
  fill_noise(key, 0, count, values.data());
  return values;
}

std::vector<std::int8_t> along_axis(const Axis& axis, std::uint32_t index, std::uint32_t count) {
  std::vector<std::int8_t> values(count);
  for (std::uint32_t i = 0; i < count; ++i) fill_noise(axis.key(i), index, 1, &values[i]);
  return values;
}

// Of the distribution, from all 65536 bit patterns: probabilities by value + kNoiseMax, and the fourth
// moment.
struct Distribution {
  std::vector<double> probability = std::vector<double>(2 * kNoiseMax + 1);
  double fourth_moment = 0;
  Distribution() {
    for (std::uint32_t bits = 0; bits < 65536; ++bits) {
      const int value = noise_from_bits(bits);
      probability[value + kNoiseMax] += 1.0 / 65536;
      fourth_moment += std::pow(value, 4) / 65536;
    }
  }
};

// Σ a[i] · b[i] over their variance, in standard errors; independent noise has deviation 1.
double correlation_sigmas(const std::int8_t* a, const std::int8_t* b, std::size_t count) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += a[i] * b[i];
  return static_cast<double>(sum) / kNoiseVariance / std::sqrt(static_cast<double>(count));
}

void expect_white_noise(const std::vector<std::int8_t>& values) {
  static const Distribution distribution;
  const auto count = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  std::vector<double> seen(distribution.probability.size());
  for (const std::int8_t v : values) {
    sum += v;
    squares += v * v;
    ++seen[v + kNoiseMax];
  }
  EXPECT_LT(std::fabs(sum / count), kSigmas * std::sqrt(kNoiseVariance / count)) << "mean";
  const double variance_error = std::sqrt((distribution.fourth_moment - 256.0 * 256.0) / count);
  EXPECT_LT(std::fabs(squares / count - kNoiseVariance), kSigmas * variance_error) << "variance";

  double chi_square = 0, cells = 0, rest_seen = 0, rest_expected = 0;
  for (std::size_t i = 0; i < seen.size(); ++i) {
    const double expected = distribution.probability[i] * count;
    if (expected < 20) {  // cells too small for the normal approximation are put together
      rest_seen += seen[i], rest_expected += expected;
      continue;
    }
    chi_square += (seen[i] - expected) * (seen[i] - expected) / expected;
    ++cells;
  }
  chi_square += (rest_seen - rest_expected) * (rest_seen - rest_expected) / rest_expected;
  const double freedom = cells;  // cells and the rest, less one
  EXPECT_LT(std::fabs(chi_square - freedom), kSigmas * std::sqrt(2 * freedom)) << "chi-square";

  for (std::size_t lag = 1; lag <= 64; ++lag) {
    EXPECT_LT(std::fabs(correlation_sigmas(values.data(), values.data() + lag, values.size() - lag)), kSigmas)
        << "correlation at lag " << lag;
  }
}

TEST(NoiseStatistics, AlongStreams) {
  for (const std::uint64_t seed : {0ULL, 1ULL, 2ULL, 1ULL << 32, ~0ULL}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    expect_white_noise(along_stream({.seed = seed}, 1 << 19));
  }
}

TEST(NoiseStatistics, AlongNames) {
  for (const Axis& axis : axes()) {
    for (const std::uint32_t index : {0u, 5u}) {
      SCOPED_TRACE(std::string(axis.name) + ", value " + std::to_string(index));
      expect_white_noise(along_axis(axis, index, 1 << 17));
    }
  }
}

// Streams of neighbouring names, value against value and shifted by up to a block, over 32 places of an axis.
TEST(NoiseStatistics, NeighbouringStreamsAreUncorrelated) {
  constexpr std::uint32_t kCount = 1 << 15;
  constexpr int kShift = kNoisePerBlock;
  for (const Axis& axis : axes()) {
    for (std::uint32_t place = 0; place < 64; place += 2) {
      const auto a = along_stream(axis.key(place), kCount), b = along_stream(axis.key(place + 1), kCount);
      for (int shift = -kShift; shift <= kShift; ++shift) {
        const std::int8_t* left = a.data() + (shift < 0 ? -shift : 0);
        const std::int8_t* right = b.data() + (shift > 0 ? shift : 0);
        EXPECT_LT(std::fabs(correlation_sigmas(left, right, kCount - kShift)), kSigmas)
            << axis.name << " " << place << " shift " << shift;
      }
    }
  }
}

// Each of a block's 128 bits, over blocks of one stream and over names.
TEST(NoiseStatistics, BitsAreBalanced) {
  constexpr std::uint32_t kBlocks = 1 << 16;
  const auto expect_balance = [](const std::string& what,
                                 const std::function<PhiloxBlock(std::uint32_t)>& block) {
    std::vector<int> ones(128);
    for (std::uint32_t i = 0; i < kBlocks; ++i) {
      const PhiloxBlock words = block(i);
      for (int bit = 0; bit < 128; ++bit) ones[bit] += static_cast<int>(words[bit / 32] >> bit % 32 & 1);
    }
    for (int bit = 0; bit < 128; ++bit) {
      EXPECT_LT(std::fabs(ones[bit] - kBlocks / 2.0), kSigmas * std::sqrt(kBlocks) / 2)
          << what << " bit " << bit;
    }
  };
  expect_balance("blocks", [](std::uint32_t i) { return noise_block({.seed = 1}, i); });
  for (const Axis& axis : axes()) {
    expect_balance(axis.name, [&](std::uint32_t i) { return noise_block(axis.key(i), 0); });
  }
}

// What an update adds up: products a·b of a pair's factors. Their mean over pairs is 0 and their deviation
// 256, and the product at one weight says nothing of the product at its neighbour, though they share a
// factor.
TEST(NoiseStatistics, OuterProductsOverPairs) {
  constexpr int kPairs = 1 << 15, kSize = 4;
  std::vector<double> mean(kSize * kSize), square(kSize * kSize), cross(kSize * kSize * kSize * kSize);
  for (std::uint32_t pair = 0; pair < kPairs; ++pair) {
    const auto a = along_stream({.seed = 3, .pair = pair, .role = NoiseRole::kA}, kSize);
    const auto b = along_stream({.seed = 3, .pair = pair, .role = NoiseRole::kB}, kSize);
    double v[kSize * kSize];
    for (int i = 0; i < kSize * kSize; ++i) v[i] = a[i / kSize] * b[i % kSize] / 256.0;
    for (int i = 0; i < kSize * kSize; ++i) {
      mean[i] += v[i] / kPairs;
      square[i] += v[i] * v[i] / kPairs;
      for (int j = 0; j < i; ++j) cross[i * kSize * kSize + j] += v[i] * v[j] / kPairs;
    }
  }
  const double kurtosis = Distribution().fourth_moment / (256.0 * 256.0);
  const double error = 1 / std::sqrt(double{kPairs});
  for (int i = 0; i < kSize * kSize; ++i) {
    EXPECT_LT(std::fabs(mean[i]), kSigmas * error) << i;
    EXPECT_LT(std::fabs(square[i] - 1), kSigmas * error * std::sqrt(kurtosis * kurtosis - 1)) << i;
    for (int j = 0; j < i; ++j) {
      const bool shared = i / kSize == j / kSize || i % kSize == j % kSize;
      const double deviation = shared ? std::sqrt(kurtosis) : 1;
      EXPECT_LT(std::fabs(cross[i * kSize * kSize + j]), kSigmas * error * deviation) << i << " " << j;
    }
  }
}

}  // namespace
}  // namespace clutch::exact
