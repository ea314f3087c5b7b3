#include "program/program.h"

#include <fmt/format.h>

#include "base/check.h"
#include "exact/digest.h"
#include "exact/noise.h"

namespace clutch {

std::string TensorSpec::label() const {
  return layer == kUnstacked ? name : fmt::format("{}[{}]", name, layer);
}

std::int64_t Program::parameters() const {
  std::int64_t count = 0;
  for (const TensorSpec& tensor : tensors) count += tensor.size();
  return count;
}

std::int64_t Program::state_width() const {
  std::int64_t width = 0;
  for (const State& state : states) width += slots[state.read].width;
  if (window == 0) return width;
  for (const Instruction& instruction : instructions) {
    if (instruction.op == Op::attend) width += 2 * window * slots[instruction.dst].width;
  }
  return width + kCountWidth;
}

std::int64_t Program::multiplies() const {
  std::int64_t count = 0;
  for (const Instruction& instruction : instructions) {
    if (instruction.op == Op::matmul) count += tensors[instruction.tensor].size();
  }
  return count;
}

Weights initial_weights(const Program& program, std::uint64_t seed) {
  Weights weights;
  for (std::size_t t = 0; t < program.tensors.size(); ++t) {
    const TensorSpec& tensor = program.tensors[t];
    auto& values = weights.emplace_back(tensor.size(), static_cast<std::int8_t>(tensor.initial));
    if (tensor.initial != TensorSpec::kNoise) continue;
    exact::fill_noise(
        {.seed = seed, .tensor = static_cast<std::uint16_t>(t), .role = exact::NoiseRole::kInitial}, 0,
        static_cast<std::uint32_t>(values.size()), values.data());
  }
  return weights;
}

std::uint64_t digest(const Program& program, const Weights& weights) {
  check_equal(weights.size(), program.tensors.size(), "weights match the program's tensors");
  std::uint64_t sum = 0;
  for (std::size_t t = 0; t < weights.size(); ++t) {
    sum += exact::digest_tensor(static_cast<std::uint32_t>(t), weights[t].data(), weights[t].size());
  }
  return sum;
}

}  // namespace clutch
