// The inner loop of a product: R rows by four vectors of columns, or V of them, everything in registers.
#pragma once

#include <cstddef>
#include <cstdint>

namespace clutch::cpu {
namespace {

template <class X>
CLUTCH_SIMD std::int32_t load_group(const X* x) {
  std::int32_t word;
  __builtin_memcpy(&word, x, 4);
  return word;
}

template <int V>
CLUTCH_SIMD void pin_row(I (&sums)[V]) {
  if constexpr (V == 4) {
    pin(sums);
  } else {
#pragma GCC unroll 3
    for (int v = 0; v < V; ++v) touch(sums[v]);
  }
}

// One step of the below, elements `at` of the rows.
template <class Dot, int R, int kAdvance, int V>
CLUTCH_SIMD void accumulate_step(I (&sums)[R][V], const typename Dot::X* const (&rows)[R], std::ptrdiff_t at,
                                 const std::byte* panel) {
  if constexpr (kBlockRows > 3) {
    I w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = load(panel + v * kVectorBytes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const I group = set32(load_group(rows[r] + at));
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) sums[r][v] = Dot::multiply(sums[r][v], w[v], group);
      pin_row(sums[r]);
    }
  } else {
    // With 16 registers: 12 sums, three groups and one panel vector or product.
    I groups[R];
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) groups[r] = set32(load_group(rows[r] + at));
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      const I w = load(panel + v * kVectorBytes);
#pragma GCC unroll 3
      for (int r = 0; r < R; ++r) sums[r][v] = Dot::multiply(sums[r][v], w, groups[r]);
    }
#pragma GCC unroll 3
    for (int r = 0; r < R; ++r) pin_row(sums[r]);
  }
}

// sums[r][v] += Σ over steps of panel vector (step, v) times row r's group, in the sense of Dot::multiply.
// From row to row are x_step elements, from step to step kAdvance; a step of the panel is four vectors, of
// which the first V count. Steps are even and at least two: were there a way round the loop, g++ 12 would
// spill the sums before and behind it.
template <class Dot, int R, int kAdvance, int V>
CLUTCH_SIMD void accumulate_broadcast(I (&sums)[R][V], const typename Dot::X* x, std::ptrdiff_t x_step,
                                      const std::byte* panel, std::int64_t steps) {
  const typename Dot::X* rows[R];
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) rows[r] = x + r * x_step;
  constexpr int kUnroll = 2;
  std::ptrdiff_t at = 0;
  const std::ptrdiff_t end = steps * kAdvance;
  do {
#pragma GCC unroll 2
    for (int u = 0; u < kUnroll; ++u) {
      accumulate_step<Dot, R, kAdvance>(sums, rows, at + u * kAdvance, panel + u * 4 * kVectorBytes);
    }
    panel += kUnroll * 4 * kVectorBytes;
    at += kUnroll * kAdvance;
  } while (at < end);
}

// `steps` times R rows by four vectors of products that touch no memory: the most that this instruction set
// can do.
template <class Dot, int R>
[[gnu::noinline]] std::int64_t multiply_registers(std::int64_t steps) {
  I sums[R][4], w = set8(1), x = set8(3);
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = sums[r][2] = sums[r][3] = zero();
  for (std::int64_t s = 0; s < steps; ++s) {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < 4; ++j) {
        sums[r][j] = Dot::multiply(sums[r][j], w, x);
        touch(x);  // or a compiler would multiply once
      }
      pin(sums[r]);
    }
  }
  I all = zero();
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) all = bit_xor(all, sums[r][j]);
  }
  keep(all);
  return steps * R * 4 * (kVectorBytes / 4) * Dot::kPeakTerms;
}

}  // namespace
}  // namespace clutch::cpu
