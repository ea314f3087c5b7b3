// Exponentials, logarithms and the cross-entropy of a token, in integers. Logits are int8 in sixteenths of a
// bit (4 fractional bits): a token's probability is proportional to 2^(logit/16).
#pragma once

#include <cstdint>

#include "exact/arithmetic.h"

namespace clutch::exact {

constexpr int kLogitFractionBits = 4;
constexpr int kExp2FractionBits = 28;  // exp2_negative() is in units of 2^-28
constexpr int kLossFractionBits = 20;  // losses are in units of 2^-20 bit
constexpr std::int64_t kMaxVocab = 65536;

// The formulas by tables that lie elsewhere, for kernels of devices: exp2 [17] and log2 [257] hold kExp2Table
// and kLog2Table. What they mean is said below.
constexpr std::uint32_t exp2_negative(const std::uint32_t* exp2, std::uint32_t sixteenths) {
  return exp2[sixteenths % 16] >> (sixteenths / 16);
}
constexpr std::uint32_t log2_q24(const std::uint32_t* log2, std::uint64_t x) {
  const int whole = log2_floor(x);
  const std::uint64_t mantissa = x << (63 - whole);  // the leading one at bit 63
  const auto index = static_cast<std::uint32_t>(mantissa >> 55 & 255);
  const std::uint64_t rest = mantissa >> 23 & 0xFFFFFFFF;
  const std::uint64_t rise = (log2[index + 1] - log2[index]) * rest >> 32;
  return (static_cast<std::uint32_t>(whole) << 24) + log2[index] + static_cast<std::uint32_t>(rise);
}
constexpr std::int64_t loss_from_sum(const std::uint32_t* log2, std::uint64_t sum, int max_minus_target) {
  constexpr int kDropBits = 24 - kLossFractionBits;
  const std::int64_t log2_sum = (std::int64_t{log2_q24(log2, sum)} + (1 << (kDropBits - 1))) >> kDropBits;
  return log2_sum - (std::int64_t{kExp2FractionBits} << kLossFractionBits) +
         (std::int64_t{max_minus_target} << (kLossFractionBits - kLogitFractionBits));
}

// floor(kExp2Table[d mod 16] / 2^(d div 16)), about 2^28 · 2^(-d/16); 0 <= d <= 254.
std::uint32_t exp2_negative(std::uint32_t sixteenths);

// About 2^28 · 2^(-x/2^16), by linear interpolation in kExp2Table; equal to exp2_negative(d) at x = d · 2^12.
// x up to 2^32 - 1; 0 from 32 bits on.
std::uint32_t exp2_negative_q16(std::uint32_t x);

// log2(x) in units of 2^-24, by kLog2Table with linear interpolation; x > 0. The error is below 2^-18.
std::uint32_t log2_q24(std::uint64_t x);

// The part of the cross-entropy that follows the sum: with S = Σ_v exp2_negative(max - logit_v),
// log2(S) - 28 + (max - logit_target)/16 in units of 2^-20 bit. S >= 2^28; 0 <= max_minus_target <= 254.
// Never negative, below 2^25 for a vocabulary of up to kMaxVocab.
std::int64_t loss_from_sum(std::uint64_t sum, int max_minus_target);

// -log2 P(target) in units of 2^-20 bit; logits [vocab], 2 <= vocab <= kMaxVocab, 0 <= target < vocab.
// Away from the real value by less than 2^-17 + vocab · 1.5 · 2^-28 bit.
std::int64_t cross_entropy(const std::int8_t* logits, std::int64_t vocab, std::int64_t target);

}  // namespace clutch::exact
