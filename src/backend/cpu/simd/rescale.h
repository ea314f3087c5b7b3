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

// out[r]: the largest 16-bit lane of a[r]. Halving two vectors side by side takes as much as halving one, and
// nothing waits for one row's alone.
CLUTCH_SIMD void largest_of(const I (&a)[kMeasured], std::int16_t (&out)[kMeasured]) {
  const auto twos = [&](int r) { return max16(low16(a[r], a[r + 1]), high16(a[r], a[r + 1])); };
  const auto fours = [&](int r) {
    const I first = twos(r), second = twos(r + 2);
    return max16(low32(first, second), high32(first, second));
  };
  const I first = fours(0), second = fours(4);
  largest_lanes16(max16(low64(first, second), high64(first, second)), out);
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

// The same for magnitudes up to kMostNarrow: a pair's two results stay in the halves of their 32 bits.
struct NarrowRescaleLanes {
  explicit NarrowRescaleLanes(const Rescaling& r)
      : even(set32(r.multiplier)),
        odd(shift_left32<16>(even)),
        rounding(set32(r.rounding)),
        shift(count32(r.shift)),
        rest(count32(16 - r.shift)) {}
  I even, odd, rounding;
  Shift shift, rest;

  CLUTCH_SIMD I operator()(I x) const {
    return merge16(shift_floor32(madd16_add(rounding, x, even), shift),
                   shift_left32(madd16_add(rounding, x, odd), rest));
  }
};

// A row of 16-bit lanes, in halves as bytes widen.
template <class Lanes>
CLUTCH_SIMD void rescale_wide(const std::byte* wide, const Lanes& lanes, std::int64_t width,
                              std::int8_t* out) {
  for (std::int64_t i = 0; i < width; i += kVectorBytes) {
    store(out + i, narrow16(lanes(load(wide + 2 * i)), lanes(load(wide + 2 * i + kVectorBytes))));
  }
}

// widen(row, wide, width) writes a row as 16-bit lanes, in halves as bytes widen, and returns lanes of
// magnitudes; each row is rescaled by the largest of them. Scratch has room for kMeasured rows.
template <class Lanes, class Widen>
CLUTCH_SIMD void rescale_rows(const RowTask& task, void* scratch, Widen widen) {
  std::int8_t* out[kMeasured];
  I sizes[kMeasured];
  for (I& size : sizes) size = zero();
  int count = 0;
  const auto wide = [&](int r) { return static_cast<std::byte*>(scratch) + r * 2 * task.width; };
  const auto finish = [&](std::int64_t width) {
    std::int16_t largest[kMeasured];
    largest_of(sizes, largest);
    for (int r = 0; r < count; ++r) rescale_wide(wide(r), Lanes(kRescalings.of[largest[r]]), width, out[r]);
    count = 0;
  };
  each_row(task, [&](const Row& row, std::int64_t width) {
    out[count] = row.out;
    sizes[count] = widen(row, wide(count), width);
    if (++count == kMeasured) finish(width);
  });
  if (count > 0) finish(task.width);
}

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
    const NarrowRescaleLanes lanes(kRescalings.of[largest8(largest)]);
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      const I xs = load(row.x + i);
      store(row.out + i, narrow16(lanes(widen_low8(xs)), lanes(widen_high8(xs))));
    }
  });
}

template <bool kBias>
void add_rescale_rows(const RescaleTask& task) {
  const auto widen = [](const Row& row, std::byte* wide, std::int64_t width) {
    I largest = zero();
    for (std::int64_t i = 0; i < width; i += kVectorBytes) {
      const I xs = load(row.x + i);
      const I ys = kBias ? add_clipped(load(row.y + i), load(row.bias + i)) : load(row.y + i);
      const I low = sum_pairs8(low8(xs, ys)), high = sum_pairs8(high8(xs, ys));
      largest = max16(largest, max16(abs16(low), abs16(high)));
      store(wide + 2 * i, low);
      store(wide + 2 * i + kVectorBytes, high);
    }
    return largest;
  };
  rescale_rows<RescaleLanes>(task.rows, task.scratch, widen);
}

inline void add_rescale(const RescaleTask& task) {
  task.rows.bias.data != nullptr ? add_rescale_rows<true>(task) : add_rescale_rows<false>(task);
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
  return merge16(shift_floor32<16>(one(half.even_high, half.even_low)), one(half.odd_high, half.odd_low));
}

// Turned elements are within ±180, 127·√2 rounded.
inline void rotate(const RotateTask& task) {
  const auto widen = [&task](const Row& row, std::byte* wide, std::int64_t width) {
    const SplitTurns& turns = task.turns[task.positions[row.member * task.position_step + row.token]];
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
    return largest;
  };
  rescale_rows<NarrowRescaleLanes>(task.rows, task.scratch, widen);
}

}  // namespace
}  // namespace clutch::cpu
