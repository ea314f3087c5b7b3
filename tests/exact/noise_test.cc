// The generator against published vectors, the map from bits to values against its whole domain, and filling
// against single blocks. Statistics of streams are in noise_statistics_test.cc.
#include "exact/noise.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <vector>

namespace clutch::exact {
namespace {

// The known-answer file of Random123 (Salmon et al.), philox4x32, 10 rounds.
TEST(Philox, KnownAnswers) {
  constexpr std::uint32_t kOnes = 0xFFFFFFFF;
  EXPECT_EQ(philox({0, 0, 0, 0}, 0, 0), (PhiloxBlock{0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}));
  EXPECT_EQ(philox({kOnes, kOnes, kOnes, kOnes}, kOnes, kOnes),
            (PhiloxBlock{0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}));
  EXPECT_EQ(philox({0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344}, 0xA4093822, 0x299F31D0),
            (PhiloxBlock{0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}));
}

TEST(Noise, BlockPutsEachPartOfTheNameInItsPlace) {
  const NoiseKey key{.seed = 0x1122334455667788,
                     .epoch = 0xAABBCCDD,
                     .pair = 0x10203040,
                     .tensor = 0xFEDC,
                     .component = 0xBA,
                     .role = NoiseRole::kTest};
  EXPECT_EQ(noise_block(key, 0x99887766),
            philox({0x99887766, 0x10203040, 0xAABBCCDD, 0xFEDCBA05}, 0x55667788, 0x11223344));
}

TEST(Noise, RoleNumbersNeverChange) {
  const NoiseRole roles[] = {NoiseRole::kA,      NoiseRole::kB,    NoiseRole::kInitial,
                             NoiseRole::kSample, NoiseRole::kText, NoiseRole::kTest};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(static_cast<int>(roles[i]), i);
}

TEST(Noise, ValuesOfAllBitPatterns) {
  std::map<int, int> counts;
  std::int64_t sum = 0, squares = 0, fourths = 0;
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    const int value = noise_from_bits(bits);
    ++counts[value];
    sum += value;
    squares += value * value;
    fourths += std::int64_t{value} * value * value * value;
  }
  EXPECT_EQ(sum, 0);
  EXPECT_EQ(squares, kNoiseVariance * 65536);
  EXPECT_EQ(counts.begin()->first, -kNoiseMax);
  EXPECT_EQ(counts.rbegin()->first, kNoiseMax);
  EXPECT_EQ(counts.size(), 2u * kNoiseMax + 1);
  for (const auto& [value, count] : counts) EXPECT_EQ(count, counts[-value]) << value;
  const double excess_kurtosis = static_cast<double>(fourths) / 65536 / (256.0 * 256.0) - 3;
  EXPECT_NEAR(excess_kurtosis, -0.40, 0.005);
}

// Of the second implementation, tests/second/clutch2.py.
TEST(Noise, KnownAnswers) {
  std::vector<std::int8_t> values(24);
  fill_noise({.seed = 12345678901234567890u,
              .epoch = 3,
              .pair = 70000,
              .tensor = 513,
              .component = 7,
              .role = NoiseRole::kB},
             0, 24, values.data());
  EXPECT_EQ(values, (std::vector<std::int8_t>{-5, 18, 19, -25, -11, -9, 7,  30, 5,   11, 28,  -8,
                                              2,  -5, -9, -3,  -4,  35, 16, 1,  -39, 5,  -13, 1}));
}

TEST(Noise, FillingInPiecesEqualsFillingWhole) {
  const NoiseKey key{.seed = 42, .epoch = 1, .pair = 2, .tensor = 3};
  for (const std::uint32_t start : {0u, 100000u, (1u << 31) - 64}) {
    std::vector<std::int8_t> whole(64);
    fill_noise(key, start, 64, whole.data());
    for (std::uint32_t first = 0; first <= 20; ++first) {
      for (std::uint32_t count = 0; first + count <= 44; ++count) {
        std::vector<std::int8_t> piece(count + 2, 99);  // a guard at either end
        fill_noise(key, start + first, count, piece.data() + 1);
        ASSERT_TRUE(std::equal(piece.begin() + 1, piece.end() - 1, whole.begin() + first))
            << first << " " << count;
        ASSERT_TRUE(piece.front() == 99 && piece.back() == 99) << first << " " << count;
      }
    }
  }
}

// Every block that a small run asks for: of the initial weights, of both factors over all steps, of the
// sampler, of the text. Philox is a bijection of the counter, so equal blocks mean equal names.
TEST(Noise, NamesOfASmallRunShareNoBlock) {
  constexpr std::uint32_t kEpochs = 6, kPairs = 17, kTensors = 13, kRank = 3, kBlocks = 5;
  std::set<PhiloxBlock> seen;
  std::size_t asked = 0;
  const auto ask = [&](const NoiseKey& key, std::uint32_t block) {
    seen.insert(noise_block(key, block));
    ++asked;
  };
  for (std::uint32_t block = 0; block < kBlocks; ++block) {
    for (std::uint16_t tensor = 0; tensor < kTensors; ++tensor) {
      ask({.seed = 1, .tensor = tensor, .role = NoiseRole::kInitial}, block);
      for (std::uint32_t epoch = 0; epoch < kEpochs; ++epoch) {
        for (std::uint32_t pair = 0; pair < kPairs; ++pair) {
          for (std::uint8_t component = 0; component < kRank; ++component) {
            for (const NoiseRole role : {NoiseRole::kA, NoiseRole::kB})
              ask({1, epoch, pair, tensor, component, role}, block);
          }
        }
      }
    }
    for (std::uint32_t story = 0; story < 100; ++story)
      ask({.seed = 1, .epoch = story, .role = NoiseRole::kText}, block);
  }
  for (std::uint32_t position = 0; position < 1000; ++position) {
    ask({.seed = 1, .epoch = position, .role = NoiseRole::kSample}, 0);
  }
  EXPECT_EQ(asked, kBlocks * (kTensors * (1 + kEpochs * kPairs * kRank * 2) + 100) + 1000);
  EXPECT_EQ(seen.size(), asked);
}

// The same at the ends of the ranges, where fields that overlapped would collide.
TEST(Noise, ExtremeNamesShareNoBlock) {
  std::set<PhiloxBlock> seen;
  for (const std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32, ~0ULL}) {
    for (const std::uint32_t word : {0u, 1u, 0xFFFFFFFFu}) {
      for (const std::uint32_t block : {0u, 1u, 0xFFFFFFFFu}) {
        for (const std::uint32_t pair : {0u, 1u, 0xFFFFFFFFu}) {
          for (const std::uint16_t tensor : std::initializer_list<std::uint16_t>{0, 1, 255, 256, 65535}) {
            for (const std::uint8_t component : std::initializer_list<std::uint8_t>{0, 1, 5, 63, 255}) {
              for (const NoiseRole role : {NoiseRole::kA, NoiseRole::kB, NoiseRole::kTest}) {
                const NoiseKey key{seed, word, pair, tensor, component, role};
                ASSERT_TRUE(seen.insert(noise_block(key, block)).second);
              }
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace clutch::exact
