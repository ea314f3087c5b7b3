// Rescaling, rotary positions and attention in portable C++; kernels.h beside it says what such a file is.
#pragma once

#include "backend/cpu/generic/kernels.h"
#include "exact/attention.h"

namespace clutch::cpu {
namespace {
namespace generic {

// exact::rescale by a multiplication: with u = 254·x + 257·largest in [3·largest, 511·largest], u /
// (2·largest) rounded down is (u·multiplier) >> 26, as the multiplier exceeds 2^26 / (2·largest) by at most 1
// and 511·254·508 < 2^26; less 128 it is the result.
struct Rescaling {
  explicit Rescaling(std::int32_t the_largest)
      : largest(the_largest),
        multiplier(the_largest == 0 ? 0 : (1u << 26) / (2u * static_cast<std::uint32_t>(the_largest)) + 1) {}
  std::int32_t largest;
  std::uint64_t multiplier;
  std::int8_t operator()(std::int32_t x) const {
    if (largest == 0) return 0;
    const auto u = static_cast<std::uint64_t>(254 * x + 257 * largest);
    return static_cast<std::int8_t>(static_cast<std::int32_t>(u * multiplier >> 26) - 128);
  }
};

// out [width] = the rescaled values of x(i), which are within 254.
template <class X>
void rescale_row(std::int64_t width, X x, std::int8_t* out) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const std::int32_t size = x(i) < 0 ? -x(i) : x(i);
    largest = size > largest ? size : largest;
  }
  const Rescaling rescaling(largest);
  for (std::int64_t i = 0; i < width; ++i) out[i] = rescaling(x(i));
}

inline void rescale(const RowTask& task) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t* x = task.x.row(m, t);
    rescale_row(
        task.width, [x](std::int64_t i) -> std::int32_t { return x[i]; }, task.out.row(m, t));
  });
}

inline void add_rescale(const RowTask& task) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t *x = task.x.row(m, t), *y = task.y.row(m, t);
    rescale_row(
        task.width, [x, y](std::int64_t i) -> std::int32_t { return x[i] + y[i]; }, task.out.row(m, t));
  });
}

inline void rotate(const RotateTask& task) {
  each_row(task.rows, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t* x = task.rows.x.row(m, t);
    const exact::Turn* turns = task.turns + task.positions[m * task.position_step + t] * exact::kTurnPairs;
    rescale_row(
        task.rows.width,
        [x, turns](std::int64_t i) -> std::int32_t {
          const exact::Turn& turn = turns[i % exact::kHeadWidth / 2];
          const std::int32_t even = x[i & ~1], odd = x[i | 1];
          const std::int32_t turned =
              i % 2 == 0 ? even * turn.cosine - odd * turn.sine : even * turn.sine + odd * turn.cosine;
          return (turned + (1 << (exact::kTurnFractionBits - 1))) >> exact::kTurnFractionBits;
        },
        task.rows.out.row(m, t));
  });
}

inline std::size_t attend_scratch_bytes(std::int64_t positions, std::int64_t) {
  return static_cast<std::size_t>(positions) * sizeof(std::int32_t);
}

// One query and head over `positions`.
inline void attend_head(const AttendTask& task, std::int64_t query, std::int64_t head,
                        std::int64_t positions) {
  const std::int8_t* q = task.queries + query * task.query_step + head;
  auto* scores = static_cast<std::int32_t*>(task.scratch);
  std::int32_t largest = INT32_MIN;
  for (std::int64_t p = 0; p < positions; ++p) {
    const std::int8_t* key = task.keys + p * task.width + head;
    std::int32_t score = 0;
    for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) score += q[n] * key[n];
    scores[p] = score >> exact::kScoreShift;
    largest = scores[p] > largest ? scores[p] : largest;
  }
  std::int64_t sums[exact::kHeadWidth] = {}, total = 0;
  for (std::int64_t p = 0; p < positions; ++p) {
    const std::int64_t weight = exact::softmax_weight(largest - scores[p]);
    const std::int8_t* value = task.values + p * task.width + head;
    total += weight;
    for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) sums[n] += weight * value[n];
  }
  std::int8_t* out = task.out + query * task.out_step + head;
  for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) {
    out[n] = static_cast<std::int8_t>(exact::divide_floor(sums[n], total));
  }
}

inline void attend(const AttendTask& task) {
  for (std::int64_t query = 0; query < task.count; ++query) {
    for (std::int64_t head = 0; head < task.width; head += exact::kHeadWidth) {
      attend_head(task, query, head, task.first + query + 1);
    }
  }
}

}  // namespace generic
}  // namespace
}  // namespace clutch::cpu
