#include "backend/cpu/turns.h"

#include <algorithm>
#include <vector>

#include "exact/arithmetic.h"

namespace clutch::cpu {
namespace {

void split(std::int32_t first, std::int32_t second, std::int16_t (&high)[2], std::int16_t (&low)[2]) {
  const std::int32_t both[2] = {first, second};
  for (int i = 0; i < 2; ++i) {
    const auto whole = static_cast<std::int32_t>(exact::shift_floor(both[i], kTurnLowBits));
    high[i] = static_cast<std::int16_t>(std::min(whole, INT16_MAX));  // of 1 itself one less
    low[i] = static_cast<std::int16_t>(both[i] - (high[i] << kTurnLowBits));
  }
}

std::vector<SplitTurns> make_split_turns() {
  std::vector<SplitTurns> all(exact::kMaxWindow);
  for (std::int64_t p = 0; p < exact::kMaxWindow; ++p) {
    for (std::int64_t i = 0; i < exact::kTurnPairs; ++i) {
      const exact::Turn turn = exact::turns_of(p)[i];
      SplitTurns::Half& half = all[p].halves[i / 4 % 2];
      const std::int64_t place = i / 8 * 4 + i % 4;
      split(turn.cosine, -turn.sine, half.even_high[place], half.even_low[place]);
      split(turn.sine, turn.cosine, half.odd_high[place], half.odd_low[place]);
    }
  }
  return all;
}

}  // namespace

const SplitTurns* split_turns() {
  static const std::vector<SplitTurns> all = make_split_turns();
  return all.data();
}

}  // namespace clutch::cpu
