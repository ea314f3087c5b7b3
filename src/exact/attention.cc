#include "exact/attention.h"

#include <vector>

#include "exact/tables.h"

namespace clutch::exact {
namespace {

using Wide = __int128;
constexpr int kSeedFractionBits = 62;

// a with 124 fractional bits, rounded to 62.
std::int64_t drop_seed_fraction(Wide a) {
  return static_cast<std::int64_t>((a + (Wide{1} << (kSeedFractionBits - 1))) >> kSeedFractionBits);
}

std::int32_t to_turn(std::int64_t a) {
  constexpr int kDrop = kSeedFractionBits - kTurnFractionBits;
  return static_cast<std::int32_t>((a + (std::int64_t{1} << (kDrop - 1))) >> kDrop);
}

// From position to position by the sum of angles. An error of a unit or two of 2^-62 a step stays below 2^-50
// in kMaxWindow of them, and no value lies as near to a tie of 2^-21: tests compare every entry.
std::vector<Turn> make_turns() {
  std::vector<Turn> turns(kMaxWindow * kTurnPairs);
  for (std::int64_t i = 0; i < kTurnPairs; ++i) {
    const Wide step_cosine = kTurnTable[i][0], step_sine = kTurnTable[i][1];
    std::int64_t cosine = std::int64_t{1} << kSeedFractionBits, sine = 0;
    for (std::int64_t p = 0; p < kMaxWindow; ++p) {
      turns[p * kTurnPairs + i] = {to_turn(cosine), to_turn(sine)};
      const std::int64_t next = drop_seed_fraction(cosine * step_cosine - sine * step_sine);
      sine = drop_seed_fraction(sine * step_cosine + cosine * step_sine);
      cosine = next;
    }
  }
  return turns;
}

}  // namespace

std::span<const Turn, kTurnPairs> turns_of(std::int64_t position) {
  static const std::vector<Turn> turns = make_turns();
  return std::span<const Turn, kTurnPairs>(turns.data() + position * kTurnPairs, kTurnPairs);
}

std::uint32_t softmax_weight(std::int64_t d) { return d < 256 ? kSoftmaxTable[d] : 0; }

std::int8_t gelu(std::int8_t x) { return kGeluTable[x + 127]; }

}  // namespace clutch::exact
