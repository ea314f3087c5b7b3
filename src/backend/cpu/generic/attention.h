// Rescaling, rotary positions and attention in portable C++; kernels.h beside it says what such a file is.
#pragma once

#include "backend/cpu/generic/kernels.h"
#include "backend/cpu/rescaling.h"
#include "exact/attention.h"

namespace clutch::cpu {
namespace {
namespace generic {

constexpr Rescalings kRescalings;

// out [width] = the rescaled values of x(i), which are within kMostRescaled.
template <class X>
void rescale_row(std::int64_t width, X x, std::int8_t* out) {
  std::int32_t largest = 0;
  for (std::int64_t i = 0; i < width; ++i) {
    const std::int32_t size = x(i) < 0 ? -x(i) : x(i);
    largest = size > largest ? size : largest;
  }
  const Rescaling r = kRescalings.of[largest];
  for (std::int64_t i = 0; i < width; ++i)
    out[i] = static_cast<std::int8_t>((x(i) * r.multiplier + r.rounding) >> r.shift);
}

inline void rescale(const RowTask& task) {
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t* x = task.x.row(m, t);
    rescale_row(
        task.width, [x](std::int64_t i) -> std::int32_t { return x[i]; }, task.out.row(m, t));
  });
}

inline void add_rescale(const RescaleTask& given) {
  const RowTask& task = given.rows;
  each_row(task, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t *x = task.x.row(m, t), *y = task.y.row(m, t);
    const std::int8_t* w = task.bias.data == nullptr ? nullptr : task.bias.row(m, t);
    const auto sum = [=](std::int64_t i) -> std::int32_t {
      return x[i] + (w == nullptr ? y[i] : clip32(y[i] + w[i]));
    };
    rescale_row(task.width, sum, task.out.row(m, t));
  });
}

// The turned element i of a row.
inline std::int32_t turned(const SplitTurns& turns, const std::int8_t* x, std::int64_t i) {
  const std::int64_t pair = i % exact::kHeadWidth / 2, place = pair / 8 * 4 + pair % 4;
  const SplitTurns::Half& half = turns.halves[pair / 4 % 2];
  const std::int16_t* high = i % 2 == 0 ? half.even_high[place] : half.odd_high[place];
  const std::int16_t* low = i % 2 == 0 ? half.even_low[place] : half.odd_low[place];
  const std::int32_t even = x[i & ~1], odd = x[i | 1];
  const std::int32_t whole =
      (even * high[0] + odd * high[1]) * (1 << kTurnLowBits) + even * low[0] + odd * low[1];
  return (whole + (1 << (exact::kTurnFractionBits - 1))) >> exact::kTurnFractionBits;
}

inline void rotate(const RotateTask& task) {
  each_row(task.rows, [&](std::int64_t m, std::int64_t t) {
    const std::int8_t* x = task.rows.x.row(m, t);
    const SplitTurns& turns = task.turns[task.positions[m * task.position_step + t]];
    auto* wide = static_cast<std::int16_t*>(task.scratch);
    for (std::int64_t i = 0; i < task.rows.width; ++i)
      wide[i] = static_cast<std::int16_t>(turned(turns, x, i));
    rescale_row(
        task.rows.width, [wide](std::int64_t i) -> std::int32_t { return wide[i]; }, task.rows.out.row(m, t));
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
