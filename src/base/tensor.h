// A named array of integers as files and programs exchange it: weights, and in a checkpoint the states of
// members and what a rule remembers. It owns its bytes and knows no arithmetic.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace clutch {

enum class ElementType : std::uint8_t { kInt8, kInt32 };  // safetensors' I8 and I32
constexpr std::int64_t bytes_of(ElementType type) { return type == ElementType::kInt8 ? 1 : 4; }

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;  // outermost dimension first; empty for a scalar
  std::vector<std::int8_t>
      data;  // row-major, the bytes of exactly element_count(shape) values, little-endian
  ElementType type = ElementType::kInt8;

  bool operator==(const Tensor&) const = default;
};

// The number of elements of a shape: the product of its dimensions, 1 for a scalar. Nothing if a dimension is
// negative or if multiplying from the first dimension on leaves int64 (even when a later dimension is 0).
std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape);

}  // namespace clutch
