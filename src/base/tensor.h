// A named array of int8 as files and programs exchange it: weights, and the states of members in a
// checkpoint. It owns its bytes and knows no arithmetic. int8 is the only element type that models have
// today; a second one would become a field here and an entry in safetensors' list of types.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace clutch {

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;  // outermost dimension first; empty for a scalar
  std::vector<std::int8_t> data;    // row-major, exactly element_count(shape) values

  bool operator==(const Tensor&) const = default;
};

// The number of elements of a shape: the product of its dimensions, 1 for a scalar. Nothing if a dimension is
// negative or if multiplying from the first dimension on leaves int64 (even when a later dimension is 0).
std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape);

}  // namespace clutch
