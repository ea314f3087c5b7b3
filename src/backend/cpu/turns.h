// The turns of rotary positions as kernels multiply by them: each number of 20 fractional bits in two parts
// of 16 bits, high·2^5 + low with 0 <= low <= 2^5, beside the one that its pair's other element takes.
#pragma once

#include <cstdint>

#include "exact/attention.h"

namespace clutch::cpu {

constexpr int kTurnLowBits = 5;

// Of one position. In 16-byte blocks of a head's elements, the first half's pairs are separate from the
// second half's: that is how bytes widen within 16-byte lanes. Pair i of a head: half i / 4 % 2, place i / 8
// · 4 + i % 4.
struct SplitTurns {
  struct Half {
    // What (even, odd) is multiplied by, element by element, and added up: for the new even element the high
    // and the low parts of (cosine, -sine), for the new odd one those of (sine, cosine).
    std::int16_t even_high[16][2], even_low[16][2], odd_high[16][2], odd_low[16][2];
  };
  Half halves[2];
};

// [kMaxWindow]
const SplitTurns* split_turns();

}  // namespace clutch::cpu
