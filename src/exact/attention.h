// The integers behind attention: rotary positions, the weights of a softmax, and the cache's limits. Tables
// are checked in tests/exact against high precision.
#pragma once

#include <cstdint>
#include <span>

namespace clutch::exact {

constexpr std::int64_t kHeadWidth = 64;    // elements of a head
constexpr std::int64_t kMaxWindow = 1024;  // positions
constexpr int kTurnFractionBits = 20;
constexpr int kScoreShift = 8;                  // a score is q·k >> this
constexpr std::uint32_t kSoftmaxOne = 1 << 18;  // the weight of the largest score

// The angle that a pair of elements is turned by, as round(2^20 · cos), round(2^20 · sin).
struct Turn {
  std::int32_t cosine, sine;
};

constexpr std::int64_t kTurnPairs = kHeadWidth / 2;  // elements 2i and 2i+1 of a head are pair i

// Turns [kTurnPairs] of a position in [0, kMaxWindow): pair i by position · 10000^(-i/32).
std::span<const Turn, kTurnPairs> turns_of(std::int64_t position);

// (value + 2^19) >> 20, of a turned element that still has the table's fractional bits.
constexpr std::int64_t drop_turn_fraction(std::int64_t value) {
  return (value + (std::int64_t{1} << (kTurnFractionBits - 1))) >> kTurnFractionBits;
}

// round(2^18 · exp(-d/6)) by table; 0 from d = 256 on. d >= 0.
std::uint32_t softmax_weight(std::int64_t d);

// round(16 · gelu(x / 16)) by table, gelu(x) = x · P(N(0,1) < x); x in [-127, 127].
std::int8_t gelu(std::int8_t x);

}  // namespace clutch::exact
