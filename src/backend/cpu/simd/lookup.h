// Tables of bytes indexed by bytes of 0..127, in blocks of the 16 entries that one instruction looks up; 0
// behind the last block.
//
// A place is the index plus 0x70 less 16 for each block before: negative from the next block on, so that the
// lookup gives 0. In blocks before the index's own it gives the index's entry of that block as well, which
// cancels: a block holds its entries XORed with the next block's.
#pragma once

#include <cstdint>

namespace clutch::cpu {
namespace {

template <int kBlocks>
struct BlockTable {
  std::int8_t of[kBlocks][16] = {};

  // entry(i) for i in 0..16·kBlocks - 1.
  template <class Entry>
  constexpr explicit BlockTable(const Entry& entry) {
    for (int i = 0; i < kBlocks * 16; ++i) {
      const auto next = i + 16 < kBlocks * 16 ? entry(i + 16) : std::int8_t{0};
      of[i / 16][i % 16] = static_cast<std::int8_t>(entry(i) ^ next);
    }
  }
};

template <int kBlocks>
struct TableLanes {
  explicit TableLanes(const BlockTable<kBlocks>& table) {
    for (int b = 0; b < kBlocks; ++b) blocks[b] = load_lanes(table.of[b], 0);
  }
  I blocks[kBlocks];
};

// Of kBlocks or more blocks, for all tables looked up with the same indices.
template <int kBlocks>
struct TablePlaces {
  CLUTCH_SIMD explicit TablePlaces(I index) {
#pragma GCC unroll 5
    for (int b = 0; b < kBlocks; ++b) of[b] = add8(index, set8(0x70 - 16 * b));
  }
  I of[kBlocks];
};

template <int kBlocks, int kPlaces>
CLUTCH_SIMD I lookup(const TableLanes<kBlocks>& table, const TablePlaces<kPlaces>& places) {
  static_assert(kBlocks >= 2 && kBlocks <= 5 && kBlocks <= kPlaces);
  const auto in = [&](int b) { return lookup16(table.blocks[b], places.of[b]); };
  if constexpr (kBlocks == 2) return bit_xor(in(0), in(1));
  if constexpr (kBlocks == 3) return bit_xor3(in(0), in(1), in(2));
  if constexpr (kBlocks == 4) return bit_xor(in(0), bit_xor3(in(1), in(2), in(3)));
  if constexpr (kBlocks == 5) return bit_xor3(in(0), in(1), bit_xor3(in(2), in(3), in(4)));
}

}  // namespace
}  // namespace clutch::cpu
