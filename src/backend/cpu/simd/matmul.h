// Matrix products with the perturbation, the division and the narrowing fused behind them, for any vector
// width and any Dot (dot_*.h).
//
// Packed weights are panels of kVectorBytes columns (outputs): for every group of k, four vectors of one
// group per column. Lane i of 16-byte lane L of vector j is column 16·L + 4·j + i, which is the order in
// which two in-lane narrowings put bytes back in place. A panel stays in the first-level cache while all rows
// of the call pass by, six at a time: 24 sums, four panel vectors and a broadcast group fill 32 registers.
#pragma once

#include "backend/cpu/kernels.h"
#include "backend/cpu/simd/divide.h"
#include "backend/cpu/simd/facts.h"

namespace clutch::cpu {
namespace {

constexpr std::int64_t kColumns = kVectorBytes;  // of a panel

constexpr std::int64_t column_of(int vector, int lane) { return lane / 4 * 16 + vector * 4 + lane % 4; }

inline std::size_t packed_bytes(std::int64_t n, std::int64_t k) {
  return static_cast<std::size_t>(n) * static_cast<std::size_t>(k) * Dot::kStepBytes / Dot::kStep;
}

constexpr int kGroupElements = 4 / static_cast<int>(sizeof(Dot::X));

inline std::size_t panel_bytes(std::int64_t k) { return packed_bytes(kColumns, k); }

// A panel of kColumns rows of k weights, `step` apart, by 4-by-4 transpositions of groups within lanes: lane
// L of vector j takes rows lane_rows·L + vector_rows·j + (0..3).
CLUTCH_SIMD void pack_panel(const std::int8_t* weights, std::int64_t step, std::int64_t k, int lane_rows,
                            int vector_rows, std::byte* out) {
  const std::ptrdiff_t lane = lane_rows * step;
  for (std::int64_t at = 0; at < k; at += Dot::kChunk) {
    for (int j = 0; j < 4; ++j) {
      const std::int8_t* w = weights + vector_rows * j * step + at;
      const I a = Dot::load_groups(w, lane), b = Dot::load_groups(w + step, lane);
      const I c = Dot::load_groups(w + 2 * step, lane), d = Dot::load_groups(w + 3 * step, lane);
      const I ab_low = low32(a, b), ab_high = high32(a, b), cd_low = low32(c, d), cd_high = high32(c, d);
      store(out + (0 * 4 + j) * kVectorBytes, low64(ab_low, cd_low));
      store(out + (1 * 4 + j) * kVectorBytes, high64(ab_low, cd_low));
      store(out + (2 * 4 + j) * kVectorBytes, low64(ab_high, cd_high));
      store(out + (3 * 4 + j) * kVectorBytes, high64(ab_high, cd_high));
    }
    out += 16 * kVectorBytes;
  }
}

// Columns in the order that narrowing wants; see above.
CLUTCH_SIMD void pack_columns(const std::int8_t* weights, std::int64_t cols, std::byte* out) {
  pack_panel(weights, cols, cols, 16, 4, out);
}

// Where rows or columns are missing: the band's rows are copied with zeros round them, some columns at a
// time.
inline void pack_ragged(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, std::int64_t first,
                        std::byte* panel) {
  for (std::int64_t k = 0; k < cols; k += kPad) {
    std::int8_t copy[kColumns * kPad] = {};
    for (std::int64_t n = 0; n < kColumns && first + n < rows; ++n) {
      const std::int64_t count = cols - k < kPad ? cols - k : kPad;
      __builtin_memcpy(copy + n * kPad, weights + (first + n) * cols + k, static_cast<std::size_t>(count));
    }
    pack_columns(copy, kPad, panel + static_cast<std::size_t>(k / kPad) * panel_bytes(kPad));
  }
}

inline void pack(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, std::int64_t band,
                 void* packed) {
  for (std::int64_t first = band * kPad; first < (band + 1) * kPad; first += kColumns) {
    auto* panel = static_cast<std::byte*>(packed) +
                  static_cast<std::size_t>(first / kColumns) * panel_bytes(padded(cols));
    if (first + kColumns <= rows && cols % kPad == 0) {
      pack_columns(weights + first * cols, cols, panel);
    } else {
      pack_ragged(weights, rows, cols, first, panel);
    }
  }
}

inline void pack_terms(const std::int8_t* b, std::int64_t terms, void* packed) {
  auto* out = static_cast<std::byte*>(packed);
  for (std::int64_t first = 0; first < kPad; first += kColumns) {
    for (std::int64_t term = 0; term < terms; term += Dot::kStep, out += 4 * kVectorBytes) {
      I rows[Dot::kStep];
      for (int i = 0; i < Dot::kStep; ++i) rows[i] = load(b + (term + i) * kPad + first);
      Dot::template interleave<true>(rows, out);
    }
  }
}

// --- a block: R rows by one panel --------------------------------------------------------------------------

struct Block {
  const std::byte* panel;
  const Dot::X* x;  // prepared rows
  std::ptrdiff_t x_step;
  std::int8_t* y;
  std::ptrdiff_t y_step;
  std::int64_t steps;
  RowFacts facts;                // from the block's first row on
  const std::int32_t* shared_a = nullptr;  // kShared: [rank][kColumns] as (A·512, A), in the panel's order;
                                 // kSharedOnce: as widen_halves() has it
  const MatrixNoise* noise;      // of the first row
  int noise_step;                // to the next row's
  std::int64_t column;           // the panel's first
  const std::int32_t* sums = nullptr;  // kSummed: [rows][kColumns], the products of rows and panel
};

CLUTCH_SIMD void advance(Block& b, std::int64_t rows) {
  b.x += rows * b.x_step, b.y += rows * b.y_step, b.facts = b.facts.from(rows);
  b.noise += rows * b.noise_step;
}

// What all blocks of a call share.
struct Finish {
  explicit Finish(const MatmulTask& task)
      : noise_shift(count32(task.noise_shift)),
        shift(count32(task.divider.shift)),
        divide(task.divider),
        signs{{set32(1), set32(1 << 16)}, {set32(0xFFFF), set32(-(1 << 16))}},
        divides(task.divider.divisor != 1),
        starts_inside(folds_start(task)),
        halves(takes_halves(task)),
        half_scale(set16(halves ? 1 << (16 - task.noise_shift) : 0)),
        rank(task.rank),
        n(task.n) {}
  Shift noise_shift, shift;
  SmallDivision divide;
  I signs[2][2];  // of a plus and of a minus: 1 or -1 in the lower half of 32 bits, and in the upper
  bool divides;
  bool starts_inside;  // RowFacts::rounding holds the start too
  bool halves;         // takes_halves()
  I half_scale;
  int rank;
  std::int64_t n;
};

// Sums begin with the perturbation: z holds the rounded products of noise.
CLUTCH_SIMD void start_perturbed(I (&sum)[4], const I (&z)[4], const Block& b, const Finish& finish, int r) {
  if (finish.starts_inside) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] = shift_floor32(z[v], finish.noise_shift);
  } else {
    const I start = set32(b.facts.start()[r]);
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sum[v] = add32(start, shift_floor32(z[v], finish.noise_shift));
  }
}

template <int R>
CLUTCH_SIMD void start_plain(I (&sums)[R][4], const Block& b) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = set32(b.facts.start()[r]);
}

template <int R>
CLUTCH_SIMD void start_shared(I (&sums)[R][4], const Block& b, const Finish& finish) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const I rounding = set32(b.facts.rounding()[r]);
    I z[4] = {rounding, rounding, rounding, rounding};
    const std::int32_t* a = b.shared_a;
    for (int j = 0; j < finish.rank; ++j, a += kColumns) {
      const I p = set32(b.facts.projections(j)[r]);
#pragma GCC unroll 4
      for (int v = 0; v < 4; ++v) z[v] = madd16_add(z[v], load(a + v * kLanes), p);
    }
    start_perturbed(sums[r], z, b, finish, r);
  }
}

// Bytes of A as pairs (A·512, A) in the panel's order; see split_projections().
CLUTCH_SIMD void widen_pairs(I bytes, I (&out)[4]) {
  const I low = shift_floor16<8>(low8(zero(), bytes)), high = shift_floor16<8>(high8(zero(), bytes));
  const I low_512 = shift_left16<9>(low), high_512 = shift_left16<9>(high);
  out[0] = low16(low, low_512);
  out[1] = high16(low, low_512);
  out[2] = low16(high, high_512);
  out[3] = high16(high, high_512);
}

// Bytes to 32 bits in the panel's order, times 2^24.
CLUTCH_SIMD void widen_high(I bytes, I (&out)[4]) {
  const I low = low8(zero(), bytes), high = high8(zero(), bytes);
  out[0] = low16(zero(), low);
  out[1] = high16(zero(), low);
  out[2] = low16(zero(), high);
  out[3] = high16(zero(), high);
}

// One component, of each row's own noise or of all rows'; a pair's two members share A.
template <int R>
CLUTCH_SIMD void start_once(I (&sums)[R][4], const Block& b, const Finish& finish) {
  I wide[4];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const std::int8_t* a = b.noise[r * b.noise_step].a;
    if (r == 0 || a != b.noise[(r - 1) * b.noise_step].a) widen_pairs(load(a + b.column), wide);
    const I rounding = set32(b.facts.rounding()[r]), p = set32(b.facts.projections(0)[r]);
    const I z[4] = {madd16_add(rounding, wide[0], p), madd16_add(rounding, wide[1], p),
                    madd16_add(rounding, wide[2], p), madd16_add(rounding, wide[3], p)};
    start_perturbed(sums[r], z, b, finish, r);
  }
}

// Bytes of A times the scale of takes_halves() in 16-bit lanes: the panel's first two vectors of columns side
// by side in the halves of 32 bits, then the other two.
CLUTCH_SIMD void widen_halves(I bytes, I scale, I (&out)[2]) {
  const I low = mul16(shift_floor16<8>(low8(zero(), bytes)), scale),
          high = mul16(shift_floor16<8>(high8(zero(), bytes)), scale);
  out[0] = low16(low, high64(low, low));
  out[1] = low16(high, high64(high, high));
}

// The same for projections of 16 bits: ± one half or the other is added to the start.
template <int R, bool kShared>
CLUTCH_SIMD void start_halves(I (&sums)[R][4], const Block& b, const Finish& finish) {
  I a[2], first, second;
  if constexpr (kShared) a[0] = load(b.shared_a), a[1] = load(b.shared_a + kLanes);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const MatrixNoise& noise = b.noise[r * b.noise_step];
    if constexpr (!kShared) {
      if (r == 0 || noise.a != b.noise[(r - 1) * b.noise_step].a)
        widen_halves(load(noise.a + b.column), finish.half_scale, a);
    }
    if (!kShared || r == 0) {
      const I(&signs)[2] = finish.signs[noise.sign < 0];
      first = signs[0], second = signs[1];
    }
    const I start = set32(b.facts.start()[r]), p = set32(b.facts.halves()[r]);
    const I low = mul16_high(a[0], p), high = mul16_high(a[1], p);
    sums[r][0] = madd16_add(start, low, first);
    sums[r][1] = madd16_add(start, low, second);
    sums[r][2] = madd16_add(start, high, first);
    sums[r][3] = madd16_add(start, high, second);
  }
}

template <int R, bool kWide>
CLUTCH_SIMD void start_each(I (&sums)[R][4], const Block& b, const Finish& finish) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
    const I rounding = set32(b.facts.rounding()[r]);
    I z[4] = {rounding, rounding, rounding, rounding};
    const std::int8_t* a = b.noise[r * b.noise_step].a + b.column;
    for (int j = 0; j < finish.rank; ++j, a += finish.n) {
      const I p = set32(b.facts.projections(j)[r]);
      I wide[4];
      if constexpr (kWide) {
        widen_high(load(a), wide);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) z[v] = add32(z[v], mul32(shift_floor32<24>(wide[v]), p));
      } else {
        widen_pairs(load(a), wide);
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) z[v] = madd16_add(z[v], wide[v], p);
      }
    }
    start_perturbed(sums[r], z, b, finish, r);
  }
}

// Divided, clipped, in place again. Narrowing first, with 16-bit shifts or one whole division after it, takes
// fewer instructions and is no faster: narrowing has but one port on the processors tried.
CLUTCH_SIMD I narrow_shifted(const I (&sums)[4], Shift shift) {
  const I a = shift_floor32(sums[0], shift), b = shift_floor32(sums[1], shift);
  const I c = shift_floor32(sums[2], shift), d = shift_floor32(sums[3], shift);
  return max8(narrow16(narrow32(a, b), narrow32(c, d)), set8(-exact::kClip));
}
template <bool kRest>
CLUTCH_SIMD I narrow_divided(const I (&sums)[4], Shift shift, const SmallDivision& divide) {
  const I a = shift_floor32(sums[0], shift), b = shift_floor32(sums[1], shift);
  const I c = shift_floor32(sums[2], shift), d = shift_floor32(sums[3], shift);
  return divide.template floor_clipped<kRest>(narrow32_unsigned(a, b), narrow32_unsigned(c, d));
}

// Results of a block's rows. What they need is read before the first store, which might change it for all
// that a compiler knows.
template <int R>
CLUTCH_SIMD void store_rows(const I (&sums)[R][4], const Block& b, const Finish& finish) {
  const Shift shift = finish.shift;
  const SmallDivision divide = finish.divide;
  const std::ptrdiff_t step = b.y_step;
  std::int8_t* y = b.y;
  if (finish.divides && divide.has_rest) {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) store(y + r * step, narrow_divided<true>(sums[r], shift, divide));
  } else if (finish.divides) {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) store(y + r * step, narrow_divided<false>(sums[r], shift, divide));
  } else {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) store(y + r * step, narrow_shifted(sums[r], shift));
  }
}

template <int R>
CLUTCH_SIMD void add_sums(I (&sums)[R][4], const std::int32_t* products) {
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) sums[r][v] = add32(sums[r][v], load(products + r * kColumns + v * kLanes));
  }
}

constexpr bool is_shared(Perturb p) { return p == Perturb::kShared || p == Perturb::kSharedOnce; }
constexpr bool is_once(Perturb p) { return p == Perturb::kSharedOnce || p == Perturb::kEachOnce; }

// kHalves: all rows' projections fit 16 bits. kSummed: the products are there already.
template <int R, Perturb P, bool kHalves, bool kSummed>
[[gnu::noinline]] void block(const Block& b, const Finish& finish) {
  I sums[R][4];
  if constexpr (P == Perturb::kNone) start_plain<R>(sums, b);
  if constexpr (kHalves) start_halves<R, P == Perturb::kSharedOnce>(sums, b, finish);
  if constexpr (is_once(P) && !kHalves) start_once<R>(sums, b, finish);
  if constexpr (P == Perturb::kShared) start_shared<R>(sums, b, finish);
  if constexpr (P == Perturb::kEach) start_each<R, false>(sums, b, finish);
  if constexpr (P == Perturb::kEachWide) start_each<R, true>(sums, b, finish);
  if constexpr (kSummed) {
    add_sums<R>(sums, b.sums);
  } else {
    Dot::template accumulate<R, kGroupElements>(sums, b.x, b.x_step, b.panel, b.steps);
  }
  store_rows<R>(sums, b, finish);
}

// A row whose sums, noise or division are too wide for the vectors above.
inline void row_scalar(const Block& b, const MatmulTask& task) {
  I in_lanes[1][4];
  start_plain<1>(in_lanes, b);
  Dot::template accumulate<1, kGroupElements>(in_lanes, b.x, b.x_step, b.panel, b.steps);
  std::int32_t sums[kColumns];
  for (int v = 0; v < 4; ++v) store(sums + v * kLanes, in_lanes[0][v]);
  for (int v = 0; v < 4; ++v) {
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t column = column_of(v, lane);
      std::int64_t product = 0;
      for (int j = 0; task.noise != nullptr && j < task.rank; ++j) {
        product += std::int64_t{b.facts.projections(j)[0]} * b.noise->a[j * task.n + b.column + column];
      }
      if (task.noise != nullptr) product = (product + b.facts.rounding()[0]) >> task.noise_shift;
      b.y[column] = divide_any(sums[v * kLanes + lane] + product, task.divider);
    }
  }
}

template <Perturb P, bool kHalves, bool kSummed>
void run_block(int rows, const Block& b, const Finish& finish) {
  switch (rows) {
    case 1:
      return block<1, P, kHalves, kSummed>(b, finish);
    case 2:
      return block<2, P, kHalves, kSummed>(b, finish);
    case 3:
      return block<3, P, kHalves, kSummed>(b, finish);
    default:
      break;
  }
  if constexpr (kBlockRows > 3) {
    switch (rows) {
      case 4:
        return block<4, P, kHalves, kSummed>(b, finish);
      case 5:
        return block<5, P, kHalves, kSummed>(b, finish);
      default:
        return block<6, P, kHalves, kSummed>(b, finish);
    }
  }
}

// A of one member and panel as start_halves() and start_shared() want it.
inline void widen_a(const MatmulTask& task, const Finish& finish, const MatrixNoise& noise,
                    std::int64_t column, std::int32_t* out) {
  if (finish.halves) {
    I halves[2];
    widen_halves(load(noise.a + column), finish.half_scale, halves);
    store(out, halves[0]);
    store(out + kLanes, halves[1]);
    return;
  }
  for (int j = 0; j < task.rank; ++j, out += kColumns) {
    I pairs[4];
    widen_pairs(load(noise.a + j * task.n + column), pairs);
    for (int v = 0; v < 4; ++v) store(out + v * kLanes, pairs[v]);
  }
}

}  // namespace
}  // namespace clutch::cpu
