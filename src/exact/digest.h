// The digest of a model's weights: a sum over words, so that any device, thread or rank can add up its share
// in any order. It tells runs apart; it is no defence against somebody who wants a collision.
#pragma once

#include <cstdint>

namespace clutch::exact {

// The 64-bit finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014): a bijection that mixes all bits.
constexpr std::uint64_t mix64(std::uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
  z = (z ^ z >> 27) * 0x94D049BB133111EB;
  return z ^ z >> 31;
}

// The term of word `index` of tensor `tensor`. A word is eight weights, the first in its low byte; the last
// word of a tensor is filled up with zeros.
constexpr std::uint64_t digest_term(std::uint32_t tensor, std::uint32_t index, std::uint64_t word) {
  const std::uint64_t place = std::uint64_t{tensor} << 32 | index;
  return mix64(mix64(place + 0x9E3779B97F4A7C15) ^ word);
}

// The share of one tensor: the sum of its terms modulo 2^64. weights [count], row-major.
std::uint64_t digest_tensor(std::uint32_t tensor, const std::int8_t* weights, std::uint64_t count);

}  // namespace clutch::exact
