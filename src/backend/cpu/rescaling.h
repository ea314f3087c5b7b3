// Rescaling by one multiplication: for each largest magnitude the numbers with which exact::rescale(x,
// largest) is (x·multiplier + rounding) >> shift. A test tries every pair.
#pragma once

#include <cstdint>

namespace clutch::cpu {

// Of sums of two slots.
constexpr int kMostRescaled = 254;

// The multiplier round(127·2^shift / m), m the largest, moves a value by at most m / 2^(shift + 1), which
// must be below 1 / (2·m), the distance of all but ties from a tie: m² < 2^shift. Ties need an even m; m / 4
// more keeps them above. With 2^shift in (129·m, 258·m] the multiplier is below 2^15, and the shift at most
// 15; that holds up to kMostNarrow (of 128..181 it is 15). Beyond, 2^shift is in (258·m, 516·m].
constexpr int kMostNarrow = 181;
struct Rescaling {
  std::int32_t multiplier = 0, rounding = 0, shift = 0;  // all 0 for m = 0
  std::int32_t halves = 0;                               // two 16-bit numbers that add up to the multiplier
};

struct Rescalings {
  Rescaling of[kMostRescaled + 1];
  constexpr Rescalings() {
    for (int m = 1; m <= kMostRescaled; ++m) {
      const int most = (m <= kMostNarrow ? 258 : 516) * m;
      int shift = 0;
      while ((2 << shift) <= most) ++shift;
      const int multiplier = ((254 << shift) + m) / (2 * m);
      const int half = multiplier / 2;
      of[m] = {multiplier, (1 << (shift - 1)) + (m % 2 == 0 ? m / 4 : 0), shift,
               (multiplier - half) * 65536 + half};
    }
  }
};

}  // namespace clutch::cpu
