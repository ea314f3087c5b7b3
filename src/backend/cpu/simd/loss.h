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

constexpr std::int64_t whole_vectors(std::int64_t vocab) { return vocab / kVectorBytes * kVectorBytes; }

// The logits beyond whole vectors, and the least there is to the vector's end.
CLUTCH_SIMD I load_rest(const std::int8_t* logits, std::int64_t count) {
  alignas(kVectorBytes) std::int8_t rest[kVectorBytes];
  store(rest, set8(-exact::kClip));
  __builtin_memcpy(rest, logits, static_cast<std::size_t>(count));
  return load(rest);
}

CLUTCH_SIMD int largest_logit(const std::int8_t* logits, std::int64_t vocab) {
  const std::int64_t whole = whole_vectors(vocab);
  I largest = whole == vocab ? set8(-exact::kClip) : load_rest(logits + whole, vocab - whole);
  for (std::int64_t v = 0; v < whole; v += kVectorBytes) largest = max8(largest, load(logits + v));
  return largest8(largest);
}

// Σ 2^28 · 2^((logit - max)/16).
CLUTCH_SIMD std::uint64_t sum_powers(const Exp2Table& table, const std::int8_t* logits, std::int64_t vocab,
                                     int max) {
  const std::int64_t whole = whole_vectors(vocab);
  const I top = set8(max), low_words = set64(0xFFFFFFFF);
  // Four terms a lane, each at most 2^28: two vectors of them stay below 2^32.
  const auto terms = [&](I vector) { return exp2_terms(table, sub8(top, vector)); };
  const auto widened = [&](I sums) { return add64(bit_and(sums, low_words), shift_right64<32>(sums)); };
  I sums = zero();
  std::int64_t v = 0;
  for (; v + 2 * kVectorBytes <= whole; v += 2 * kVectorBytes)
    sums = add64(sums, widened(add32(terms(load(logits + v)), terms(load(logits + v + kVectorBytes)))));
  if (v < whole) sums = add64(sums, widened(terms(load(logits + v))));
  if (whole == vocab) return sum64(sums);
  sums = add64(sums, widened(terms(load_rest(logits + whole, vocab - whole))));
  const int d = max + exact::kClip;  // of what fills the vector
  const auto filled = static_cast<std::uint64_t>(whole + kVectorBytes - vocab);
  return sum64(sums) - filled * (kExp2Entries.of[d % 16] >> (d / 16));
}

// Some rows at a time: first all their largest logits, then sums, then logarithms, so that none waits for the
// one before; and a call, which the logarithm is, leaves no vector in its register.
inline std::int64_t loss(const std::int8_t* logits, std::int64_t rows, std::int64_t vocab,
                         const std::uint16_t* targets) {
  constexpr std::int64_t kAtATime = 16;
  const std::int64_t stride = padded(vocab);
  std::int64_t total = 0;
  for (; rows > 0; rows -= kAtATime, logits += kAtATime * stride, targets += kAtATime) {
    const std::int64_t count = rows < kAtATime ? rows : kAtATime;
    const Exp2Table table = load_exp2(kExp2Entries.of);
    int max[kAtATime];
    std::uint64_t sums[kAtATime];
    for (std::int64_t r = 0; r < count; ++r) max[r] = largest_logit(logits + r * stride, vocab);
    for (std::int64_t r = 0; r < count; ++r) sums[r] = sum_powers(table, logits + r * stride, vocab, max[r]);
    for (std::int64_t r = 0; r < count; ++r)
      total += exact::loss_from_sum(sums[r], max[r] - logits[r * stride + targets[r]]);
  }
  return total;
}

}  // namespace
}  // namespace clutch::cpu
