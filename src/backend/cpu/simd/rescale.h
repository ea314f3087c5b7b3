// Ops that rescale a row by its largest magnitude, with what else a transformer does element by element.
#pragma once

#include "backend/cpu/rescaling.h"
#include "backend/cpu/simd/lookup.h"
#include "backend/cpu/simd/rows.h"
#include "backend/cpu/turns.h"
#include "exact/tables.h"

namespace clutch::cpu {
namespace {

constexpr Rescalings kRescalings;

// The largest of 16-bit lanes, each in [0, 254].
CLUTCH_SIMD int largest_magnitude(I a) {
  const I centred = sub16(a, set16(127));
  return largest8(narrow16(centred, centred)) + 127;
}

// 16-bit lanes within the largest magnitude, rescaled.
struct RescaleLanes {
  explicit RescaleLanes(const Rescaling& r)
      : halves(set32(r.halves)), rounding(set32(r.rounding)), shift(count32(r.shift)) {}
  I halves, rounding;
  Shift shift;

  CLUTCH_SIMD I operator()(I x) const {
    const I low = madd16_add(rounding, low16(x, x), halves),
            high = madd16_add(rounding, high16(x, x), halves);
    return narrow32(shift_floor32(low, shift), shift_floor32(high, shift));
  }
};

inline void bias(const RowTask& task) {
  each_vector(task, [](const Row& row, std::int64_t i) {
    store(row.out + i, add_clipped(load(row.x + i), load(row.vector + i)));
  });
}

// gelu(x) = max(x, 0) - drop(|x|), and from 48 on nothing drops.
constexpr std::int8_t gelu_drop(int i) { return static_cast<std::int8_t>(i - exact::kGeluTable[127 + i]); }
struct GeluDrops {
  BlockTable<3> table{gelu_drop};
  constexpr GeluDrops() {
    for (int i = 48; i < 128; ++i) check(exact::kGeluTable[127 + i] == i && exact::kGeluTable[127 - i] == 0);
    for (int i = 0; i < 48; ++i) check(-exact::kGeluTable[127 - i] == gelu_drop(i));
  }
  static constexpr void check(bool holds) {
    if (!holds) __builtin_unreachable();  // no constant expression
  }
};
constexpr GeluDrops kGeluDrops;

template <bool kBias>
void gelu_rows(const RowTask& task) {
  const TableLanes<3> drops(kGeluDrops.table);
  each_vector(task, [&](const Row& row, std::int64_t i) {
    const I xs = kBias ? add_clipped(load(row.x + i), load(row.bias + i)) : load(row.x + i), size = abs8(xs);
    store(row.out + i, sub8(max8(xs, zero()), lookup(drops, TablePlaces<3>(size))));
  });
}

inline void gelu(const RowTask& task) {
  task.bias.data != nullptr ? gelu_rows<true>(task) : gelu_rows<false>(task);
}

inline void rescale(const RowTask& task) {
  each_row(task, [](const Row& row, std::int64_t width) {
    I largest = zero();
    for (std::int64_t i = 0; i < width; i += kVectorBytes) largest = max8(largest, abs8(load(row.x + i)));
    const RescaleLanes lanes(kRescalings.of[largest8(largest)]);
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      const I xs = load(row.x + i);
      store(row.out + i, narrow16(lanes(widen_low8(xs)), lanes(widen_high8(xs))));
    }
  });
}

template <bool kBias>
void add_rescale_rows(const RowTask& task) {
  each_row(task, [](const Row& row, std::int64_t width) {
    const auto sums = [&](std::int64_t i, I& low, I& high) {
      const I xs = load(row.x + i);
      const I ys = kBias ? add_clipped(load(row.y + i), load(row.bias + i)) : load(row.y + i);
      low = sum_pairs8(low8(xs, ys)), high = sum_pairs8(high8(xs, ys));
    };
    I low, high, largest = zero();
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      sums(i, low, high);
      largest = max16(largest, max16(abs16(low), abs16(high)));
    }
    const RescaleLanes lanes(kRescalings.of[largest_magnitude(largest)]);
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      sums(i, low, high);
      store(row.out + i, narrow16(lanes(low), lanes(high)));
    }
  });
}

inline void add_rescale(const RowTask& task) {
  task.bias.data != nullptr ? add_rescale_rows<true>(task) : add_rescale_rows<false>(task);
}

// Pairs of 16-bit lanes, turned: (even, odd) times the parts of a turn is one multiply-add each. Elements
// come doubled, so that results end in the upper halves: with low and high the sums of both parts, 2^19 in
// low, floor((2·high + floor(2·low / 2^5)) / 2^16) = floor((2^5·high + low) / 2^20), as a half more before
// the last shift changes nothing.
CLUTCH_SIMD I turned(I doubled, const SplitTurns::Half& half, std::int64_t place) {
  static_assert(exact::kTurnFractionBits - kTurnLowBits == 15);
  const I rounding = set32(1 << exact::kTurnFractionBits);
  const auto one = [&](const std::int16_t(&high)[16][2], const std::int16_t(&low)[16][2]) {
    const I lower = shift_floor32<kTurnLowBits>(madd16_add(rounding, doubled, load(low[place])));
    return madd16_add(lower, doubled, load(high[place]));
  };
  return bit_or(bit_and(shift_floor32<16>(one(half.even_high, half.even_low)), set32(0xFFFF)),
                bit_and(one(half.odd_high, half.odd_low), set32(-65536)));
}

// Turned elements are within 254 and wait in scratch, in halves as they are widened.
inline void rotate(const RotateTask& task) {
  each_row(task.rows, [&](const Row& row, std::int64_t width) {
    const SplitTurns& turns = task.turns[task.positions[row.member * task.position_step + row.token]];
    auto* wide = static_cast<std::byte*>(task.scratch);
    I largest = zero();
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      const std::int64_t place = i % exact::kHeadWidth / 4;
      const I xs = load(row.x + i);
      const I low = turned(shift_floor16<7>(low8(zero(), xs)), turns.halves[0], place);
      const I high = turned(shift_floor16<7>(high8(zero(), xs)), turns.halves[1], place);
      largest = max16(largest, max16(abs16(low), abs16(high)));
      store(wide + 2 * i, low);
      store(wide + 2 * i + kVectorBytes, high);
    }
    const RescaleLanes lanes(kRescalings.of[largest_magnitude(largest)]);
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      store(row.out + i, narrow16(lanes(load(wide + 2 * i)), lanes(load(wide + 2 * i + kVectorBytes))));
    }
  });
}

}  // namespace
}  // namespace clutch::cpu
