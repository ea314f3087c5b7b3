// The loss of rows of logits: the largest, a sum of powers of two by table, and the logarithm, which is
// scalar.
#pragma once

#include "backend/cpu/simd/rows.h"
#include "exact/loss.h"
#include "exact/tables.h"

namespace clutch::cpu {
namespace {

// The object's own copy: a shared constant would be a symbol that others see.
struct Exp2Entries {
  std::uint32_t of[16] = {};
  constexpr Exp2Entries() {
    for (int i = 0; i < 16; ++i) of[i] = exact::kExp2Table[i];
  }
};
constexpr Exp2Entries kExp2Entries;

inline std::int64_t loss(const std::int8_t* logits, std::int64_t rows, std::int64_t vocab,
                         const std::uint16_t* targets) {
  const Exp2Table table = load_exp2(kExp2Entries.of);
  const std::int64_t whole = vocab / kVectorBytes * kVectorBytes, stride = padded(vocab);
  const I low_words = set64(0xFFFFFFFF);
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < rows; ++r, logits += stride) {
    I largest = set8(-exact::kClip);
    for (std::int64_t v = 0; v < whole; v += kVectorBytes) largest = max8(largest, load(logits + v));
    int max = largest8(largest);
    for (std::int64_t v = whole; v < vocab; ++v) max = logits[v] > max ? logits[v] : max;

    I sums = zero();
    const I top = set8(max);
    for (std::int64_t v = 0; v < whole; v += kVectorBytes) {
      // Four terms a lane, each at most 2^28: below 2^31.
      const I terms = exp2_terms(table, sub8(top, load(logits + v)));
      sums = add64(sums, add64(bit_and(terms, low_words), shift_right64<32>(terms)));
    }
    std::uint64_t sum = sum64(sums);
    for (std::int64_t v = whole; v < vocab; ++v) {
      const int d = max - logits[v];
      sum += kExp2Entries.of[d % 16] >> (d / 16);
    }
    total += exact::loss_from_sum(sum, max - logits[targets[r]]);
  }
  return total;
}

}  // namespace
}  // namespace clutch::cpu
