// Kernels in portable C++, written so that a compiler vectorises them for whatever the including translation
// unit is compiled for. Everything here lives in an unnamed namespace: each instruction set gets its own
// copy, and no copy leaks into code that must run elsewhere. Include from isa/*.cc only.
#pragma once

#include <cstdint>

#include "backend/cpu/generic/rules.h"
#include "backend/cpu/kernels.h"
#include "exact/attention.h"
#include "exact/digest.h"
#include "exact/loss.h"
#include "exact/tables.h"
#include "program/verify.h"

namespace clutch::cpu {
namespace {
namespace generic {

// x limited to [-limit, limit].
inline std::int32_t within(std::int32_t x, std::int32_t limit) {
  return x > limit ? limit : x < -limit ? -limit : x;
}
inline std::int8_t clip32(std::int32_t x) { return static_cast<std::int8_t>(within(x, exact::kClip)); }

// clip(x // the divider's divisor); see Divider.
inline std::int8_t divide_clip(std::int32_t x, const Divider& d) {
  const std::int32_t v = x >> d.shift;
  if (d.divisor == 1) return clip32(v);
  const auto limit = static_cast<std::int32_t>(128 * d.divisor);
  const auto u = static_cast<std::uint64_t>(within(v, limit) + limit);
  return clip32(static_cast<std::int32_t>(u * d.multiplier >> d.bits) - 128);
}

// --- products ---------------------------------------------------------------------------------------------

// Weights are widened to 16 bits, row-major [n][k]: products of 16-bit pairs summed to 32 bits are what every
// instruction set has.
inline std::size_t packed_bytes(std::int64_t n, std::int64_t k) {
  return static_cast<std::size_t>(n) * static_cast<std::size_t>(k) * sizeof(std::int16_t);
}

inline void pack(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, std::int64_t band,
                 void* packed) {
  auto* out = static_cast<std::int16_t*>(packed);
  const std::int64_t k = padded(cols);
  for (std::int64_t i = band * kPad; i < (band + 1) * kPad; ++i) {
    for (std::int64_t j = 0; j < k; ++j)
      out[i * k + j] = i < rows && j < cols ? weights[i * cols + j] : std::int8_t{0};
  }
}

inline void pack_terms(const std::int8_t* b, std::int64_t terms, void* packed) {
  auto* out = static_cast<std::int16_t*>(packed);
  for (std::int64_t i = 0; i < kPad; ++i) {
    for (std::int64_t t = 0; t < terms; ++t) out[i * terms + t] = b[t * kPad + i];
  }
}

inline std::size_t scratch_bytes(std::int64_t n, std::int64_t k, std::int64_t, int) {
  return static_cast<std::size_t>(n) * sizeof(std::int32_t) +
         static_cast<std::size_t>(k) * sizeof(std::int16_t);
}

constexpr int kColumns = 4;  // sums that share the loads of x

inline void dot_columns(const std::int16_t* x, const std::int16_t* w, std::int64_t k, std::int32_t* sums) {
  std::int32_t s0 = 0, s1 = 0, s2 = 0, s3 = 0;
  const std::int16_t *w1 = w + k, *w2 = w + 2 * k, *w3 = w + 3 * k;
  for (std::int64_t i = 0; i < k; ++i) {
    s0 += x[i] * w[i];
    s1 += x[i] * w1[i];
    s2 += x[i] * w2[i];
    s3 += x[i] * w3[i];
  }
  sums[0] = s0, sums[1] = s1, sums[2] = s2, sums[3] = s3;
}

inline std::int32_t dot(const std::int8_t* x, const std::int8_t* b, std::int64_t k) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < k; ++i) sum += x[i] * b[i];
  return sum;
}

// sums [n] += ± ((Σ_j projection_j · a_j[n]) >> shift), with products in T.
template <class T>
void perturb(const MatmulTask& task, const MatrixNoise& noise, const std::int32_t* projections,
             std::int32_t* sums) {
  for (std::int64_t i = 0; i < task.n; ++i) {
    T product = 0;
    for (int j = 0; j < task.rank; ++j) product += T{projections[j]} * T{noise.a[j * task.n + i]};
    sums[i] += noise.sign * static_cast<std::int32_t>(product >> task.noise_shift);
  }
}

inline void perturb_row(const MatmulTask& task, const MatrixNoise& noise, const std::int8_t* x,
                        std::int32_t* sums) {
  std::int32_t projections[kMaxRank];
  for (int j = 0; j < task.rank; ++j) projections[j] = dot(x, noise.b + j * task.k, task.k);
  if (task.largest_perturbation > INT32_MAX) {
    perturb<std::int64_t>(task, noise, projections, sums);
  } else {
    perturb<std::int32_t>(task, noise, projections, sums);
  }
}

inline void matmul(const MatmulTask& task) {
  const auto* packed = static_cast<const std::int16_t*>(task.packed);
  auto* sums = static_cast<std::int32_t*>(task.scratch);
  auto* x = reinterpret_cast<std::int16_t*>(sums + task.n);
  for (std::int64_t m = 0; m < task.members; ++m) {
    for (std::int64_t t = 0; t < task.tokens; ++t) {
      const std::int8_t* row = task.x.row(m, t);
      for (std::int64_t i = 0; i < task.k; ++i) x[i] = row[i];
      for (std::int64_t i = 0; i < task.n; i += kColumns)
        dot_columns(x, packed + i * task.k, task.k, sums + i);
      if (task.noise != nullptr) perturb_row(task, task.noise[m], row, sums);
      std::int8_t* y = task.y.row(m, t);
      for (std::int64_t i = 0; i < task.n; ++i) y[i] = divide_clip(sums[i], task.divider);
    }
  }
}

// --- element by element -----------------------------------------------------------------------------------

// For each mean 1..127: floor(2^22 / mean) + 1. With |v| <= 128·mean, (|v| · reciprocal) >> 22 is floor(|v| /
// mean), as 256·127² < 2^22; products stay below 2^32.
constexpr int kReciprocalBits = 22;
struct Reciprocals {
  std::uint32_t of[128] = {};
  constexpr Reciprocals() {
    for (std::uint32_t mean = 1; mean < 128; ++mean) of[mean] = (1u << kReciprocalBits) / mean + 1;
  }
};
constexpr Reciprocals kReciprocals;

inline std::int32_t magnitude(const std::int8_t* x, std::int64_t width) {
  std::int32_t sum = 0;
  for (std::int64_t i = 0; i < width; ++i) sum += x[i] < 0 ? -x[i] : x[i];
  return sum;
}

// Calls f(member, token) on every row.
template <class F>
void each_row(const RowTask& task, F f) {
  for (std::int64_t m = 0; m < task.members; ++m) {
    for (std::int64_t t = 0; t < task.tokens; ++t) f(m, t);
  }
}

inline void norm(const NormTask& task) {
  const RowTask& rows = task.rows;
  each_row(rows, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t *x = rows.x.row(m, t), *gain = rows.vector.row(m, t);
    const std::int8_t* bias = rows.bias.data == nullptr ? nullptr : rows.bias.row(m, t);
    std::int8_t* out = rows.out.row(m, t);
    const std::int64_t quotient = exact::divide_floor(magnitude(x, rows.width), task.width);
    const auto mean = static_cast<std::int32_t>(quotient < 1 ? 1 : quotient);
    const std::uint32_t reciprocal = kReciprocals.of[mean];
    const std::int32_t limit = 128 * mean;
    if (task.rounding == exact::Rounding::kFloor) {
      for (std::int64_t i = 0; i < rows.width; ++i) {
        const std::int32_t v = within(x[i] * gain[i], limit) + limit;
        out[i] = clip32(
            static_cast<std::int32_t>(static_cast<std::uint32_t>(v) * reciprocal >> kReciprocalBits) - 128);
      }
    } else {
      for (std::int64_t i = 0; i < rows.width; ++i) {
        const std::int32_t v = x[i] * gain[i];
        const auto size = static_cast<std::uint32_t>(within(v < 0 ? -v : v, limit));
        const auto truncated = static_cast<std::int32_t>(size * reciprocal >> kReciprocalBits);
        out[i] = clip32(v < 0 ? -truncated : truncated);
      }
    }
    for (std::int64_t i = 0; bias != nullptr && i < rows.width; ++i) out[i] = clip32(out[i] + bias[i]);
  });
}

// Rows of the embedding; the member's sign after the shift, as everywhere.
inline void embed(const EmbedTask& task) {
  for (std::int64_t r = 0; r < task.count; ++r) {
    const std::int8_t* weights = task.table + task.tokens[r] * task.width;
    std::int8_t* out = task.out + r * task.width;
    for (std::int64_t d = 0; d < task.width; ++d) {
      std::int32_t product = 0;
      for (int j = 0; task.noise != nullptr && j < task.rank; ++j) {
        product += task.noise->a[j * task.a_step + task.tokens[r]] * task.noise->b[j * task.width + d];
      }
      out[d] = task.noise == nullptr ? weights[d]
                                     : clip32(weights[d] + task.noise->sign * (product >> task.noise_shift));
    }
  }
}

inline void make_vector(const VectorTask& task) {
  for (std::int64_t i = 0; i < task.width; ++i) {
    const std::int32_t step = task.noise.a[i] * task.noise.b[i] >> task.noise_shift;
    task.out[i] = clip32(task.weights[i] + task.noise.sign * step);
  }
}

// out[i] = f(x[i], y[i], z[i], w[i]) in every row, for as many of them as there are.
template <class F>
void each(const RowTask& task, F f) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t* x = task.x.row(m, t);
    const std::int8_t* y = task.y.data == nullptr ? x : task.y.row(m, t);
    const std::int8_t* z = task.z.data == nullptr ? x : task.z.row(m, t);
    const std::int8_t* w = task.vector.data == nullptr ? x : task.vector.row(m, t);
    std::int8_t* out = task.out.row(m, t);
    for (std::int64_t i = 0; i < task.width; ++i) out[i] = f(x[i], y[i], z[i], w[i]);
  });
}

inline void copy(const RowTask& t) {
  each(t, [](int x, int, int, int) { return static_cast<std::int8_t>(x); });
}

inline void add(const RowTask& t) {
  each(t, [](int x, int y, int, int) { return clip32(x + y); });
}

inline void add_bias(const RowTask& t) {
  each(t, [](int x, int y, int, int w) { return clip32(x + y + w); });
}

inline std::int8_t gate_one(int x, int y) { return static_cast<std::int8_t>((x + 127) * y >> 8); }

inline void gate(const RowTask& t) {
  each(t, [](int x, int y, int, int) { return gate_one(x, y); });
}

inline std::int8_t mix_one(int x, int y, int z) {
  return static_cast<std::int8_t>(y + ((x + 127) * (z - y) >> 8));
}

inline void mix(const RowTask& t) {
  each(t, [](int x, int y, int z, int) { return mix_one(x, y, z); });
}

inline void bias_gate(const RowTask& task) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t *x = task.x.row(m, t), *y = task.y.row(m, t), *z = task.z.row(m, t);
    const std::int8_t* b = task.vector.row(m, t);
    std::int8_t *out = task.out.row(m, t), *sums = task.sum.row(m, t);
    for (std::int64_t i = 0; i < task.width; ++i) {
      const std::int8_t sum = clip32(x[i] + y[i] + b[i]), gated = gate_one(sum, z[i]);
      sums[i] = sum;
      out[i] = gated;
    }
  });
}

inline void bias_mix(const RowTask& task) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t *x = task.x.row(m, t), *y = task.y.row(m, t);
    const std::int8_t *z = task.z.row(m, t), *w = task.w.row(m, t), *b = task.vector.row(m, t);
    std::int8_t* out = task.out.row(m, t);
    for (std::int64_t i = 0; i < task.width; ++i) out[i] = mix_one(x[i], y[i], clip32(z[i] + w[i] + b[i]));
  });
}

inline void relu(const RowTask& t) {
  each(t, [](int x, int, int, int) { return static_cast<std::int8_t>(x < 0 ? 0 : x); });
}

inline void bias(const RowTask& t) {
  each(t, [](int x, int, int, int w) { return clip32(x + w); });
}

inline void gelu(const RowTask& t) {
  if (t.bias.data != nullptr) {
    RowTask with = t;
    with.vector = t.bias;
    return each(with, [](int x, int, int, int w) { return exact::gelu(clip32(x + w)); });
  }
  each(t, [](int x, int, int, int) { return exact::gelu(static_cast<std::int8_t>(x)); });
}

// --- loss -------------------------------------------------------------------------------------------------

struct Exp2 {
  std::uint32_t of[255] = {};  // exact::exp2_negative
  constexpr Exp2() {
    for (std::uint32_t d = 0; d < 255; ++d) of[d] = exact::kExp2Table[d % 16] >> (d / 16);
  }
};
constexpr Exp2 kExp2;

inline std::int64_t loss(const std::int8_t* logits, std::int64_t rows, std::int64_t vocab,
                         const std::uint16_t* targets) {
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int8_t* row = logits + r * padded(vocab);
    int max = row[0];
    for (std::int64_t v = 1; v < vocab; ++v) max = row[v] > max ? row[v] : max;
    std::uint64_t sum = 0;
    for (std::int64_t v = 0; v < vocab; ++v) sum += kExp2.of[max - row[v]];
    total += exact::loss_from_sum(sum, max - row[targets[r]]);
  }
  return total;
}

// --- noise and update -----------------------------------------------------------------------------------

inline void fill_noise(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count,
                       std::int8_t* out) {
  exact::fill_noise(key, first, count, out);
}

inline void fill_pairs(const PairNoiseTask& task) {
  exact::NoiseKey key = task.key;
  for (std::int64_t p = 0; p < task.pairs; ++p, ++key.pair) {
    std::int8_t* out = task.out + p * task.step;
    exact::fill_noise(key, task.first, task.count, out);
    for (std::int64_t i = task.count; i < kPad; ++i) out[i] = 0;
  }
}

inline std::size_t vote_scratch_bytes(std::int64_t terms) {
  return static_cast<std::size_t>(terms) * sizeof(std::int16_t);
}

inline std::int64_t vote(const VoteTask& task) {
  const auto* packed = reinterpret_cast<const std::int16_t*>(task.packed_b);
  auto* x = reinterpret_cast<std::int16_t*>(task.scratch);
  std::int64_t moved = 0;
  for (std::int64_t n = 0; n < task.rows; ++n) {
    for (std::int64_t t = 0; t < task.terms; ++t)
      x[t] = static_cast<std::int16_t>(task.fitness[t] * task.a[t * kPad + n]);
    std::int32_t* kept = task.sums == nullptr ? nullptr : task.sums + n * padded(task.cols);
    for (std::int64_t k = 0; k < task.cols; k += kColumns) {
      std::int32_t sums[kColumns];
      dot_columns(x, packed + k * task.terms, task.terms, sums);
      for (int i = 0; i < kColumns && k + i < task.cols; ++i) {
        if (!task.first) sums[i] += kept[k + i];
        if (!task.last) kept[k + i] = sums[i];
      }
      const std::int64_t at = n * task.cols + k, count = k + kColumns < task.cols ? kColumns : task.cols - k;
      if (task.last) moved += move_by_rule(task.rule, at, sums, task.weights + at, count);
    }
  }
  return moved;
}

inline std::int64_t vote_vector(const VectorVoteTask& task) {
  std::int64_t moved = 0;
  for (std::int64_t n = 0; n < task.count; ++n) {
    std::int32_t vote = task.first ? 0 : task.sums[n];
    for (std::int64_t p = 0; p < task.pairs; ++p)
      vote += task.fitness[p] * task.a[p * kPad + n] * task.b[p * kPad + n];
    task.sums[n] = vote;
  }
  if (task.last) moved = move_by_rule(task.rule, 0, task.sums, task.weights, task.count);
  return moved;
}

inline std::uint64_t digest(std::uint32_t tensor, std::uint32_t first_word, const std::int8_t* weights,
                            std::int64_t count) {
  std::uint64_t sum = 0;
  for (std::int64_t first = 0; first < count; first += 8) {
    std::uint64_t word = 0;  // little-endian: see docs/NUMERICS.md
    for (std::int64_t i = 0; i < 8 && first + i < count; ++i) {
      word |= std::uint64_t{static_cast<std::uint8_t>(weights[first + i])} << (8 * i);
    }
    sum += exact::digest_term(tensor, first_word + static_cast<std::uint32_t>(first / 8), word);
  }
  return sum;
}

}  // namespace generic
}  // namespace
}  // namespace clutch::cpu
