// The quantile of the normal distribution that turns a share of weights into a threshold, in integers.
#pragma once

#include <cstdint>

namespace clutch::exact {

constexpr int kAlphaFractionBits = 30;     // alpha = 1 is 2^30
constexpr int kQuantileFractionBits = 16;  // z = 1 is 2^16

// The z for which P(|N(0,1)| > z) = alpha, i.e. Φ⁻¹(1 - alpha/2): kTwoSidedTailTable inverted by linear
// interpolation. alpha in (0, 2^30]; an alpha below P(|N| > 5) = 5.7e-7 gives z = 5. Off by less than 2^-11.
std::uint32_t normal_quantile_two_sided(std::uint32_t alpha_q30);

}  // namespace clutch::exact
