// Ops that go element by element, the norm, and the embedding, in 16-bit lanes between in-lane widening and
// narrowing.
#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/divide.h"

namespace clutch::cpu {
namespace {

// One row's operands, null where the task has none. Kernels get a copy of the task's, which no store of a
// result can change, for all that a compiler knows.
struct Row {
  const std::int8_t *x, *y, *z, *w, *vector, *bias;
  std::int8_t *out, *sum;
  std::int64_t member, token;
};

template <class F>
CLUTCH_SIMD void each_row(const RowTask& task, F f) {
  const RowTask t = task;
  Row first{t.x.data, t.y.data, t.z.data, t.w.data, t.vector.data, t.bias.data, t.out.data, t.sum.data, 0, 0};
  for (; first.member < t.members; ++first.member) {
    Row row = first;
    for (; row.token < t.tokens; ++row.token) {
      f(row, t.width);
      row.x += t.x.token_step, row.y += t.y.token_step, row.z += t.z.token_step, row.w += t.w.token_step;
      row.vector += t.vector.token_step, row.bias += t.bias.token_step;
      row.out += t.out.token_step, row.sum += t.sum.token_step;
    }
    first.x += t.x.member_step, first.y += t.y.member_step, first.z += t.z.member_step;
    first.w += t.w.member_step, first.vector += t.vector.member_step, first.bias += t.bias.member_step;
    first.out += t.out.member_step, first.sum += t.sum.member_step;
  }
}

// The same for what goes element by element, f(row, i) for a vector of elements from i on: where rows follow
// each other, a member's are as one.
template <class F>
CLUTCH_SIMD void each_vector(const RowTask& task, F f) {
  const auto follow = [&](const auto& of) { return of.data == nullptr || of.token_step == task.width; };
  RowTask rows = task;
  if (follow(rows.x) && follow(rows.y) && follow(rows.z) && follow(rows.w) && follow(rows.vector) &&
      follow(rows.bias) && follow(rows.out) && follow(rows.sum)) {
    rows.width *= rows.tokens;
    rows.tokens = 1;
  }
  each_row(rows, [&](const Row& row, std::int64_t width) {
    for (std::int64_t i = 0; i < width; i += kVectorBytes) f(row, i);
  });
}

// Bytes as 16-bit lanes; narrow16(widen_low(a), widen_high(a)) is a again.
CLUTCH_SIMD I widen_low8(I a) { return shift_floor16<8>(low8(zero(), a)); }
CLUTCH_SIMD I widen_high8(I a) { return shift_floor16<8>(high8(zero(), a)); }

// Clips a saturated result, [-128, 127], to ±127.
CLUTCH_SIMD I clip8(I a) { return max8(a, set8(-exact::kClip)); }
CLUTCH_SIMD I add_clipped(I a, I b) { return clip8(add8_saturate(a, b)); }

inline void copy(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) { store(row.out + i, load(row.x + i)); });
}

inline void add(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    store(row.out + i, add_clipped(load(row.x + i), load(row.y + i)));
  });
}

// clip(x + y + w) in bytes: t = x + y saturated, e what that cut off. Where e is not 0, t is at the end of
// the range that e points to, so that only the sign of e + w matters beyond it, which saturation keeps.
CLUTCH_SIMD I add_three(I x, I y, I w) {
  const I sum = add8_saturate(x, y), cut = sub8(add8(x, y), sum);
  return clip8(add8_saturate(sum, add8_saturate(cut, w)));
}

inline void add_bias(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    store(row.out + i, add_three(load(row.x + i), load(row.y + i), load(row.vector + i)));
  });
}

// (x + 127)·y >> 8: the factor is in [0, 254]. Products of even bytes, then of odd ones, whose upper halves
// are where they belong.
CLUTCH_SIMD I gated(I x, I y) {
  const I factor = add8(x, set8(127)), odd = set16(-256);
  const I evens = shift_right16<8>(madd8(bit_and(factor, set16(255)), y));
  return bit_or(evens, bit_and(madd8(bit_and(factor, odd), y), odd));
}

inline void gate(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    store(row.out + i, gated(load(row.x + i), load(row.y + i)));
  });
}

// y + ((x + 127)·(z - y) >> 8) = (f·z + (255 - f)·y + y) >> 8 with f = x + 127 in [0, 254]: within ±32,512.
// The upper byte of a pair (z, y) is y, which a shift by 8 widens.
CLUTCH_SIMD I mix_lanes(I factors, I pairs) {
  return shift_floor16<8>(add16(madd8(factors, pairs), shift_floor16<8>(pairs)));
}
CLUTCH_SIMD I mixed(I x, I y, I z) {
  const I f = add8(x, set8(127)), rest = sub8(set8(-128), x);
  return narrow16(mix_lanes(low8(f, rest), low8(z, y)), mix_lanes(high8(f, rest), high8(z, y)));
}

inline void mix(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    store(row.out + i, mixed(load(row.x + i), load(row.y + i), load(row.z + i)));
  });
}

inline void bias_gate(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    const I sum = add_three(load(row.x + i), load(row.y + i), load(row.vector + i));
    const I out = gated(sum, load(row.z + i));
    store(row.sum + i, sum);
    store(row.out + i, out);
  });
}

inline void bias_mix(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    const I sum = add_three(load(row.z + i), load(row.w + i), load(row.vector + i));
    store(row.out + i, mixed(load(row.x + i), load(row.y + i), sum));
  });
}

inline void relu(const RowTask& task) {
  each_vector(task,
              [](const Row& row, std::int64_t i) { store(row.out + i, max8(load(row.x + i), zero())); });
}

// --- norm
// ---------------------------------------------------------------------------------------------------

// For each mean 1..127 what divides 2·u, u <= 256·mean <= 32,512: floor(u / mean) = (2·u·multiplier >> 16) >>
// rest. A power of two 2^e: multiplier 2^15, rest e. Else with e = floor(log2 mean): bits = max(15, 10 +
// 2·e), multiplier floor(2^bits / mean) + 1 < 2^16, rest = bits - 15; exact, as 256·mean² < 2^bits. All
// fields are twice the same 16 bits: broadcasting 32 bits from memory is free, 16 are not.
struct Means {
  struct Entry {
    std::uint32_t multiplier, rest, limit;  // limit: 128·mean
  };
  Entry of[128] = {};
  static constexpr std::uint32_t twice(int x) { return (static_cast<std::uint32_t>(x) & 0xFFFF) * 0x10001u; }
  constexpr Means() {
    for (int mean = 1; mean < 128; ++mean) {
      int e = 0;
      while ((2 << e) <= mean) ++e;
      const int bits = 10 + 2 * e < 15 ? 15 : 10 + 2 * e;
      const bool power = (1 << e) == mean;
      of[mean] = {twice(power ? 1 << 15 : (1 << bits) / mean + 1), twice(power ? e : bits - 15),
                  twice(128 * mean)};
    }
  }
};
constexpr Means kMeans;

// floor(sum / width) for sum <= 127·width, width <= 2^20: (sum·multiplier) >> 48 with multiplier = floor(2^48
// / width)
// + 1, exact as sum·width < 2^47 and below 2^56 in between.
struct WidthDivision {
  explicit WidthDivision(std::int64_t width)
      : multiplier((std::uint64_t{1} << 48) / static_cast<std::uint64_t>(width) + 1) {}
  std::uint64_t multiplier;
  int mean(std::int32_t sum) const {
    const auto mean = static_cast<int>(static_cast<std::uint64_t>(sum) * multiplier >> 48);
    return mean < 1 ? 1 : mean;
  }
};

// The lanes v of a row divided by its mean, not yet clipped.
struct MeanDivision {
  explicit MeanDivision(const Means::Entry& e)
      : limit(twice(e.limit)), multiplier(twice(e.multiplier)), rest(count16_pair(e.rest)) {}
  I limit, multiplier;
  Shift16 rest;

  CLUTCH_SIMD static I twice(std::uint32_t pair) { return set32(static_cast<std::int32_t>(pair)); }
  CLUTCH_SIMD I quotient(I u) const {
    return shift_right16(mul16_high_unsigned(add16(u, u), multiplier), rest);
  }
  // floor(v / mean) + 128 for v >= -limit, 0 below. Above the limit, where 2·u still fits as |v| <= 127²,
  // it does not fall below 256, to be saturated as an unsigned byte.
  CLUTCH_SIMD I floored(I v) const { return quotient(max16(add16(v, limit), zero())); }
  // For |v| <= limit; above it not below 128 either, with v's sign, to be saturated as a byte.
  CLUTCH_SIMD I truncated(I v) const { return copy_sign16(quotient(abs16(v)), v); }
};

// bias: null or of the width.
template <exact::Rounding kRounding, bool kBias>
CLUTCH_SIMD void norm_row(const std::int8_t* x, const std::int8_t* gain, const std::int8_t* bias,
                          std::int64_t width, int mean, std::int8_t* out) {
  const MeanDivision division(kMeans.of[mean]);
  for (std::int64_t i = 0; i < width; i += kVectorBytes) {
    const I xs = load(x + i), ws = load(gain + i);
    // x·256 times w·256, shifted by 16.
    const I low = mul16_high(low8(zero(), xs), low8(zero(), ws)),
            high = mul16_high(high8(zero(), xs), high8(zero(), ws));
    I y;
    if constexpr (kRounding == exact::Rounding::kFloor) {
      const I quotients = narrow16_unsigned(division.floored(low), division.floored(high));
      y = bit_xor(max8_unsigned(quotients, set8(1)), set8(-128));
    } else {
      y = clip8(narrow16(division.truncated(low), division.truncated(high)));
    }
    store(out + i, kBias ? add_clipped(y, load(bias + i)) : y);
  }
}

// Sums of magnitudes of rows [0, count), x_step apart, four at a time (the last ones repeated at the end), so
// that four horizontal sums are one. `sums` has room for a multiple of four.
inline void sum_row_magnitudes(const std::int8_t* x, std::ptrdiff_t x_step, std::int64_t count,
                               std::int64_t width, std::int32_t* sums) {
  for (std::int64_t first = 0; first < count; first += 4) {
    const std::int64_t last = count - 1 - first;
    I sum[4] = {zero(), zero(), zero(), zero()};
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < 4; ++r) {
      const std::int8_t* from = x + (first + (r < last ? r : last)) * x_step;
      for (std::int64_t i = 0; i < width; i += kVectorBytes)
        sum[r] = add32(sum[r], sum_magnitudes(load(from + i)));
    }
    sums32(sum[0], sum[1], sum[2], sum[3], sums + first);
  }
}

// Means are known some rows before they divide, so that rows need not wait for them.
constexpr std::int64_t kRowsAhead = 16;

template <exact::Rounding kRounding, bool kBias>
void norm_rows(const NormTask& task) {
  const RowTask rows = task.rows;  // a copy; see Row
  const WidthDivision division(task.width);
  const bool one = rows.tokens == 1;
  const std::int64_t stretches = one ? 1 : rows.members, count = one ? rows.members : rows.tokens;
  const auto step = [&](const auto& of) { return one ? of.member_step : of.token_step; };
  const std::ptrdiff_t x_step = step(rows.x), gain_step = step(rows.vector), bias_step = step(rows.bias);
  const std::ptrdiff_t out_step = step(rows.out);
  for (std::int64_t s = 0; s < stretches; ++s) {
    const std::int8_t *x = rows.x.row(s, 0), *gain = rows.vector.row(s, 0);
    const std::int8_t* bias = kBias ? rows.bias.row(s, 0) : nullptr;
    std::int8_t* out = rows.out.row(s, 0);
    for (std::int64_t first = 0; first < count; first += kRowsAhead) {
      const std::int64_t end = first + kRowsAhead < count ? first + kRowsAhead : count;
      std::int32_t sums[kRowsAhead];
      sum_row_magnitudes(x + first * x_step, x_step, end - first, rows.width, sums);
      for (std::int64_t r = first; r < end; ++r) {
        norm_row<kRounding, kBias>(x + r * x_step, gain + r * gain_step,
                                   kBias ? bias + r * bias_step : nullptr, rows.width,
                                   division.mean(sums[r - first]), out + r * out_step);
      }
    }
  }
}

inline void norm(const NormTask& task) {
  constexpr auto kFloor = exact::Rounding::kFloor, kTruncate = exact::Rounding::kTruncate;
  const bool bias = task.rows.bias.data != nullptr;
  if (task.rounding == kFloor) return bias ? norm_rows<kFloor, true>(task) : norm_rows<kFloor, false>(task);
  bias ? norm_rows<kTruncate, true>(task) : norm_rows<kTruncate, false>(task);
}

// --- noise on vectors and on the embedding
// ----------------------------------------------------------------------------------------------

// |a·b| <= 47², so that all fits 16 bits.
inline void make_vector(const VectorTask& given) {
  const VectorTask task = given;  // a copy; see Row
  const Shift16 shift = count16(task.noise_shift);
  const I minus = set16(task.noise.sign >> 1);  // 0 or -1
  const auto moved = [&](I w, I a, I b) {
    const I step = shift_floor16(mul16(a, b), shift);
    return add16(w, sub16(bit_xor(step, minus), minus));
  };
  for (std::int64_t i = 0; i < task.width; i += kVectorBytes) {
    const I w = load(task.weights + i), a = load(task.noise.a + i), b = load(task.noise.b + i);
    store(task.out + i, clip8(narrow16(moved(widen_low8(w), widen_low8(a), widen_low8(b)),
                                       moved(widen_high8(w), widen_high8(a), widen_high8(b)))));
  }
}

// Products of noise are within 47² = 2,209: 14 of them fit 16 bits.
constexpr int kMaxRank16 = 14;

inline void embed_row_wide(const EmbedTask& task, std::int64_t row) {
  const std::uint16_t token = task.tokens[row];
  const std::int8_t* weights = task.table + token * task.width;
  for (std::int64_t d = 0; d < task.width; ++d) {
    std::int32_t product = 0;
    for (int j = 0; j < task.rank; ++j)
      product += task.noise->a[j * task.a_step + token] * task.noise->b[j * task.width + d];
    const std::int32_t sum = weights[d] + task.noise->sign * (product >> task.noise_shift);
    task.out[row * task.width + d] = static_cast<std::int8_t>(sum > 127 ? 127 : sum < -127 ? -127 : sum);
  }
}

// With its sign before the shift, as in matmul; the sum of a weight and the perturbation stays within 16
// bits.
inline void embed_row(const EmbedTask& task, std::int64_t row) {
  const std::uint16_t token = task.tokens[row];
  const std::int8_t* weights = task.table + token * task.width;
  const Shift16 shift = count16(task.noise_shift);
  const I rounding = set16(task.noise->sign < 0 ? (1 << task.noise_shift) - 1 : 0);
  for (std::int64_t i = 0; i < task.width; i += kVectorBytes) {
    I low = zero(), high = zero();
    for (int j = 0; j < task.rank; ++j) {
      const I a = set16(task.noise->sign * task.noise->a[j * task.a_step + token]);
      const I b = load(task.noise->b + j * task.width + i);
      low = add16(low, mul16(widen_low8(b), a));
      high = add16(high, mul16(widen_high8(b), a));
    }
    low = shift_floor16(add16(low, rounding), shift);
    high = shift_floor16(add16(high, rounding), shift);
    const I ws = load(weights + i);
    store(task.out + row * task.width + i,
          clip8(narrow16(add16(low, widen_low8(ws)), add16(high, widen_high8(ws)))));
  }
}

inline void embed(const EmbedTask& given) {
  const EmbedTask task = given;  // a copy; see Row
  for (std::int64_t r = 0; r < task.count; ++r) {
    if (task.noise == nullptr) {
      const std::int8_t* weights = task.table + task.tokens[r] * task.width;
      for (std::int64_t i = 0; i < task.width; i += kVectorBytes)
        store(task.out + r * task.width + i, load(weights + i));
    } else if (task.rank * 2209 + (1 << task.noise_shift) <= INT16_MAX) {
      embed_row(task, r);
    } else {
      embed_row_wide(task, r);
    }
  }
}

}  // namespace
}  // namespace clutch::cpu
