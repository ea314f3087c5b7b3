// Kernels in portable C++, written so that a compiler vectorises them for whatever the including translation
// unit is compiled for. Everything here lives in an unnamed namespace: each instruction set gets its own
// copy, and no copy leaks into code that must run elsewhere. Include from isa/*.cc only.
#pragma once

#include <cstdint>

#include "backend/cpu/kernels.h"
#include "backend/cpu/schedule.h"
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

inline void pack(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, void* packed) {
  auto* out = static_cast<std::int16_t*>(packed);
  const std::int64_t n = padded(rows), k = padded(cols);
  for (std::int64_t i = 0; i < n; ++i) {
    for (std::int64_t j = 0; j < k; ++j)
      out[i * k + j] = i < rows && j < cols ? weights[i * cols + j] : std::int8_t{0};
  }
}

inline std::size_t scratch_bytes(std::int64_t n, std::int64_t k) {
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

inline void perturb_row(const MatmulTask& task, std::int64_t r, std::int32_t* sums) {
  const MatrixNoise& noise = task.noise[r * task.noise_step];
  std::int32_t projections[kMaxRank];
  for (int j = 0; j < task.rank; ++j) projections[j] = dot(task.x.row(r), noise.b + j * task.k, task.k);
  if (task.wide_noise) {
    perturb<std::int64_t>(task, noise, projections, sums);
  } else {
    perturb<std::int32_t>(task, noise, projections, sums);
  }
}

inline void matmul(const MatmulTask& task) {
  const auto* packed = static_cast<const std::int16_t*>(task.packed);
  auto* sums = static_cast<std::int32_t*>(task.scratch);
  auto* x = reinterpret_cast<std::int16_t*>(sums + task.n);
  for (std::int64_t r = 0; r < task.rows; ++r) {
    for (std::int64_t i = 0; i < task.k; ++i) x[i] = task.x.row(r)[i];
    for (std::int64_t i = 0; i < task.n; i += kColumns) dot_columns(x, packed + i * task.k, task.k, sums + i);
    if (task.noise != nullptr) perturb_row(task, r, sums);
    std::int8_t* y = task.y.row(r);
    for (std::int64_t i = 0; i < task.n; ++i) y[i] = divide_clip(sums[i], task.divider);
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

inline void norm(const NormTask& task) {
  const RowTask& rows = task.rows;
  for (std::int64_t r = 0; r < rows.rows; ++r) {
    const std::int8_t *x = rows.x.row(r), *gain = rows.vector.row(r);
    std::int8_t* out = rows.out.row(r);
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
  }
}

// out[i] = f(row pointers, i) for every row.
template <class F>
void each(const RowTask& task, F f) {
  for (std::int64_t r = 0; r < task.rows; ++r) {
    std::int8_t* out = task.out.row(r);
    for (std::int64_t i = 0; i < task.width; ++i) out[i] = f(r, i);
  }
}

inline void add(const RowTask& t) {
  each(t, [&](std::int64_t r, std::int64_t i) { return clip32(t.x.row(r)[i] + t.y.row(r)[i]); });
}

inline void add_bias(const RowTask& t) {
  each(t, [&](std::int64_t r, std::int64_t i) {
    return clip32(t.x.row(r)[i] + t.y.row(r)[i] + t.vector.row(r)[i]);
  });
}

inline void gate(const RowTask& t) {
  each(t, [&](std::int64_t r, std::int64_t i) {
    return static_cast<std::int8_t>((t.x.row(r)[i] + 127) * t.y.row(r)[i] >> 8);
  });
}

inline void mix(const RowTask& t) {
  each(t, [&](std::int64_t r, std::int64_t i) {
    const std::int32_t x = t.x.row(r)[i], y = t.y.row(r)[i], z = t.z.row(r)[i];
    return static_cast<std::int8_t>(y + ((x + 127) * (z - y) >> 8));
  });
}

inline void relu(const RowTask& t) {
  each(t, [&](std::int64_t r, std::int64_t i) { return t.x.row(r)[i] < 0 ? std::int8_t{0} : t.x.row(r)[i]; });
}

// --- loss -------------------------------------------------------------------------------------------------

struct Exp2 {
  std::uint32_t of[255] = {};  // exact::exp2_negative
  constexpr Exp2() {
    for (std::uint32_t d = 0; d < 255; ++d) of[d] = exact::kExp2Table[d % 16] >> (d / 16);
  }
};
constexpr Exp2 kExp2;

inline std::int64_t loss(RowsIn logits, std::int64_t rows, std::int64_t vocab, const std::uint16_t* targets) {
  std::int64_t total = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    const std::int8_t* row = logits.row(r);
    int max = row[0];
    for (std::int64_t v = 1; v < vocab; ++v) max = row[v] > max ? row[v] : max;
    std::uint64_t sum = 0;
    for (std::int64_t v = 0; v < vocab; ++v) sum += kExp2.of[max - row[v]];
    total += exact::loss_from_sum(sum, max - row[targets[r]]);
  }
  return total;
}

// --- update -----------------------------------------------------------------------------------------------

inline void votes(const VotesTask& task) {
  for (std::int64_t term = 0; term < task.terms; ++term) {
    const int fitness = task.fitness[term / task.rank];
    if (fitness == 0) continue;
    const std::int8_t* b = task.b + term * task.k;
    for (std::int64_t n = task.n_begin; n < task.n_end; ++n) {
      const std::int32_t a = fitness * task.a[term * task.n + n];
      std::int32_t* row = task.votes + (n - task.n_begin) * task.k;
      for (std::int64_t k = 0; k < task.k; ++k) row[k] += a * b[k];
    }
  }
}

inline constexpr Kernels kernels(const char* name) {
  return {name, packed_bytes, pack, scratch_bytes,     matmul, norm, add, add_bias, gate,
          mix,  relu,         loss, exact::fill_noise, votes};
}

}  // namespace generic
}  // namespace
}  // namespace clutch::cpu
