// The few integer operations that round or saturate, each with one name and one rounding. Outside exact/ no
// signed value meets `/` or `>>` directly. Everything is constexpr and free of overflow in the stated ranges.
#pragma once

#include <cstdint>

namespace clutch::exact {

// How a division rounds. The names appear in programs and in files.
enum class Rounding : std::uint8_t { kFloor, kTruncate };

constexpr int kClip = 127;  // int8 values live in [-127, 127]; -128 never occurs

// x limited to [-127, 127].
constexpr std::int8_t clip(std::int64_t x) {
  return static_cast<std::int8_t>(x > kClip ? kClip : x < -kClip ? -kClip : x);
}

// x / divisor rounded toward minus infinity; divisor > 0.
constexpr std::int64_t divide_floor(std::int64_t x, std::int64_t divisor) {
  return x / divisor - (x % divisor < 0 ? 1 : 0);
}

// x / divisor rounded toward zero; divisor > 0.
constexpr std::int64_t divide_truncate(std::int64_t x, std::int64_t divisor) { return x / divisor; }

constexpr std::int64_t divide(std::int64_t x, std::int64_t divisor, Rounding rounding) {
  return rounding == Rounding::kFloor ? divide_floor(x, divisor) : divide_truncate(x, divisor);
}

// x scaled so that `largest` becomes 127: 127·x / largest rounded to the nearest integer, halves up; 0 where
// largest is 0. |x| <= largest < 2^54.
constexpr std::int8_t rescale(std::int64_t x, std::int64_t largest) {
  return largest == 0 ? 0 : static_cast<std::int8_t>(divide_floor(2 * kClip * x + largest, 2 * largest));
}

// x / 2^shift rounded toward minus infinity; 0 <= shift < 63. C++20 defines >> of a negative value so.
constexpr std::int64_t shift_floor(std::int64_t x, int shift) { return x >> shift; }

constexpr std::int64_t absolute(std::int64_t x) { return x < 0 ? -x : x; }
constexpr int sign(std::int64_t x) { return (x > 0) - (x < 0); }

// floor(sqrt(x)), bit by bit from the top.
constexpr std::uint64_t square_root_floor(std::uint64_t x) {
  std::uint64_t root = 0;
  for (std::uint64_t bit = std::uint64_t{1} << 31; bit != 0; bit >>= 1) {
    const std::uint64_t next = root | bit;
    if (next * next <= x) root = next;
  }
  return root;
}

// floor(log2(x)); x > 0. By the compiler's own count: nvcc 13 takes <bit>'s for 64 of any x in a kernel, and
// says nothing.
constexpr int log2_floor(std::uint64_t x) { return 63 - __builtin_clzll(x); }

}  // namespace clutch::exact
