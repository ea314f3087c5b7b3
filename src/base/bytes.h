// Integers as little-endian bytes, on every machine.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace clutch {

// Appends the low `bytes` bytes of value, lowest first.
inline void put_little_endian(std::string& out, std::uint64_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i) & 0xFF));
}

// `count` bytes (at most 8) from `offset` on, which must be there.
inline std::uint64_t get_little_endian(std::string_view bytes, std::size_t offset, int count) {
  std::uint64_t value = 0;
  for (int i = 0; i < count; ++i) {
    value |= std::uint64_t{static_cast<unsigned char>(bytes[offset + static_cast<std::size_t>(i)])}
             << (8 * i);
  }
  return value;
}

}  // namespace clutch
