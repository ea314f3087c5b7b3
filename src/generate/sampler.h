// The choice of a token from logits, in integers: the same seed gives the same text on every backend.
// NUMERICS.md, "Sampling", has the formulas.
#pragma once

#include <cstdint>
#include <span>

namespace clutch {

// Fractions have 16 fractional bits. The order is llama.cpp's: top-k, top-p, min-p, temperature.
struct Sampling {
  std::uint32_t temperature_q16 = 1 << 16;  // 0 takes the likeliest token
  std::uint32_t top_k = 0;                  // 0 keeps all
  std::uint32_t top_p_q16 = 1 << 16;        // (0, 1]
  std::uint32_t min_p_q16 = 0;              // [0, 1]
  std::uint64_t seed = 0;
};

// The token at `position` of the text (prompt included, counted from 0). logits [vocab] in sixteenths of a
// bit.
std::uint16_t sample(std::span<const std::int8_t> logits, const Sampling& sampling, std::uint32_t position);

}  // namespace clutch
