// cpu:amxint8: AVX-512 with vpdpbusd, and for products of many rows AMX's tiles of up to 16 rows of 64 bytes,
// which multiply 16 rows by 16 columns in as many cycles as one vector instruction takes for a row. Whoever uses
// it has asked the kernel for the tiles (isa_list.cc).
#include "backend/cpu/simd/avx512.h"

namespace clutch::cpu {
namespace {

CLUTCH_SIMD I dpbusd(I sum, I w, I x) { return _mm512_dpbusd_epi32(sum, w, x); }
CLUTCH_SIMD I madd16_add(I sum, I a, I b) { return _mm512_dpwssd_epi32(sum, a, b); }

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/dot_dpbusd.h"

namespace clutch::cpu {
namespace {

// Panels of weights are packed as the vectors want them, and are tiles as they lie: vector j of 16 steps, 16
// columns by 64 terms. tdpbsud takes signed rows and unsigned weights and does not saturate; four products are
// at most 4·127·255, and sums wrap, as with vpdpbusd.
struct Dot : DpbusdDot {
  static constexpr std::int64_t kTileRows = 16;      // at most
  static constexpr std::int64_t kLeastTileRows = 8;  // below, vectors are as fast
  static constexpr std::int64_t kTileSteps = 16;     // in a tile's 64 bytes of terms
  static constexpr std::int64_t kTileColumns = 16;

  // Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 weights: all of 64 bytes, and of `rows` rows but for the
  // weights, which have one for each step.
  static void begin_tiles(std::int64_t rows) {
    Shape shape;
    for (int t = 0; t < 8; ++t) {
      shape.row_bytes[t] = 64;
      shape.rows[t] = static_cast<std::uint8_t>(t < 6 ? rows : kTileSteps);
    }
    asm volatile("ldtilecfg %0" : : "m"(shape));
  }
  static void end_tiles() { _tile_release(); }

  CLUTCH_SIMD static void clear_sums() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }

  // Products of one tile of rows with a panel's four vectors: sums [rows][4][kTileColumns].
  static void multiply_tile(const X* x, std::ptrdiff_t x_step, const std::byte* panel, std::int64_t steps,
                            std::int32_t* sums) {
    asm volatile("" : : : "memory");  // tileload's intrinsic does not say that it reads memory
    clear_sums();
    for (std::int64_t s = 0; s < steps; s += kTileSteps) {
      _tile_loadd(4, x, x_step);
      _tile_loadd(6, panel, kStride);
      _tile_dpbsud(0, 4, 6);
      _tile_loadd(7, panel + kVectorBytes, kStride);
      _tile_dpbsud(1, 4, 7);
      _tile_loadd(6, panel + 2 * kVectorBytes, kStride);
      _tile_dpbsud(2, 4, 6);
      _tile_loadd(7, panel + 3 * kVectorBytes, kStride);
      _tile_dpbsud(3, 4, 7);
      x += kTileSteps * kStep;
      panel += kTileSteps * kStride;
    }
    _tile_stored(0, sums, kStride);
    _tile_stored(1, sums + kTileColumns, kStride);
    _tile_stored(2, sums + 2 * kTileColumns, kStride);
    _tile_stored(3, sums + 3 * kTileColumns, kStride);
  }

  // Of two tiles of rows with two of the vectors, from `panel` on; sums of the same layout. Half as many
  // weights are read for each product.
  static void multiply_tiles(const X* x, const X* second, std::ptrdiff_t x_step, const std::byte* panel,
                             std::int64_t steps, std::int32_t* sums, std::int32_t* second_sums) {
    asm volatile("" : : : "memory");
    clear_sums();
    for (std::int64_t s = 0; s < steps; s += kTileSteps) {
      _tile_loadd(4, x, x_step);
      _tile_loadd(6, panel, kStride);
      _tile_dpbsud(0, 4, 6);
      _tile_loadd(7, panel + kVectorBytes, kStride);
      _tile_dpbsud(1, 4, 7);
      _tile_loadd(5, second, x_step);
      _tile_dpbsud(2, 5, 6);
      _tile_dpbsud(3, 5, 7);
      x += kTileSteps * kStep;
      second += kTileSteps * kStep;
      panel += kTileSteps * kStride;
    }
    _tile_stored(0, sums, kStride);
    _tile_stored(1, sums + kTileColumns, kStride);
    _tile_stored(2, second_sums, kStride);
    _tile_stored(3, second_sums + kTileColumns, kStride);
  }

 private:
  static constexpr std::ptrdiff_t kStride = 4 * kVectorBytes;  // from step to step, and from row to row of sums

  struct Shape {  // what ldtilecfg reads
    std::uint8_t palette = 1, start = 0, zeros[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  };
  static_assert(sizeof(Shape) == 64);
};

// The peak: tiles that touch no memory.
[[gnu::noinline]] std::int64_t multiply_tile_registers(std::int64_t steps) {
  Dot::begin_tiles(Dot::kTileRows);
  Dot::clear_sums();
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (std::int64_t s = 0; s < steps; ++s) {
    _tile_dpbsud(0, 4, 6);
    _tile_dpbsud(1, 4, 7);
    _tile_dpbsud(2, 5, 6);
    _tile_dpbsud(3, 5, 7);
  }
  Dot::end_tiles();
  return steps * 4 * Dot::kTileRows * Dot::kTileColumns * Dot::kTileSteps * Dot::kStep;
}

}  // namespace
}  // namespace clutch::cpu

#include "backend/cpu/simd/table.h"

namespace clutch::cpu {

const Kernels& amxint8_kernels() {
  static constexpr Kernels table = [] {
    Kernels kernels = simd_kernels("amxint8");
    kernels.multiply_registers = multiply_tile_registers;
    return kernels;
  }();
  return table;
}

}  // namespace clutch::cpu
