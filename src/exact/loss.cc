#include "exact/loss.h"

#include <algorithm>

#include "exact/arithmetic.h"
#include "exact/tables.h"

namespace clutch::exact {

std::uint32_t exp2_negative(std::uint32_t sixteenths) { return exp2_negative(kExp2Table, sixteenths); }

std::uint32_t exp2_negative_q16(std::uint32_t x) {
  const std::uint32_t whole = x >> 16, step = x >> 12 & 15, rest = x & 4095;
  if (whole >= 32) return 0;
  const std::uint64_t drop = std::uint64_t{kExp2Table[step] - kExp2Table[step + 1]} * rest >> 12;
  return static_cast<std::uint32_t>(kExp2Table[step] - drop) >> whole;
}

std::uint32_t log2_q24(std::uint64_t x) { return log2_q24(kLog2Table, x); }

std::int64_t loss_from_sum(std::uint64_t sum, int max_minus_target) {
  return loss_from_sum(kLog2Table, sum, max_minus_target);
}

std::int64_t cross_entropy(const std::int8_t* logits, std::int64_t vocab, std::int64_t target) {
  const int max = *std::max_element(logits, logits + vocab);
  std::uint64_t sum = 0;
  for (std::int64_t v = 0; v < vocab; ++v) sum += exp2_negative(static_cast<std::uint32_t>(max - logits[v]));
  return loss_from_sum(sum, max - logits[target]);
}

}  // namespace clutch::exact
