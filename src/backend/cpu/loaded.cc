#include "backend/cpu/loaded.h"

#include <algorithm>
#include <utility>

namespace clutch::cpu {

LoadedModel::LoadedModel(const Program& the_program, const NoiseShape& the_shape,
                         std::vector<Bounds> the_bounds, const Weights& the_weights,
                         const Kernels& the_kernels)
    : program(the_program),
      shape(the_shape),
      bounds(std::move(the_bounds)),
      kernels(the_kernels),
      schedule(make_schedule(the_program, Shortcuts::kAll)),
      turns(the_program.window > 0 ? split_turns() : nullptr),
      weights(the_weights) {
  const std::size_t tensors = program.tensors.size();
  packed.resize(tensors);
  plain.resize(tensors);
  places.resize(tensors);
  for (std::size_t t = 0; t < tensors; ++t) {
    const TensorSpec& tensor = program.tensors[t];
    const std::int64_t rows = padded(tensor.rows), cols = padded(tensor.cols);
    const bool vector = tensor.kind == TensorKind::kVector;
    places[t].a = noise_bytes;
    places[t].b = noise_bytes + (vector ? rows : shape.rank * rows);
    noise_bytes = places[t].b + (vector ? rows : shape.rank * cols);
    places[t].vector = vector_bytes;
    if (vector) vector_bytes += rows;
    if (vector) plain[t].resize(rows);
  }
  std::vector<std::int64_t> places_in_block(tensors, -1);
  std::size_t block_bytes = 0;
  for (const Instruction& instruction : program.instructions) {
    dividers.push_back(make_divider(instruction.divisor));
    if (instruction.tensor == kNothing) continue;
    const TensorSpec& tensor = program.tensors[instruction.tensor];
    const std::int64_t n = padded(tensor.rows), k = padded(tensor.cols);
    if (instruction.op == Op::matmul && places_in_block[instruction.tensor] < 0) {
      places_in_block[instruction.tensor] = static_cast<std::int64_t>(block_bytes);
      block_bytes += kernels.packed_bytes(n, k);
    }
    if (instruction.op == Op::embed) plain[instruction.tensor].resize(tensor.rows * k);
  }
  packed_weights.resize(block_bytes);
  for (std::size_t t = 0; t < tensors; ++t) {
    if (places_in_block[t] >= 0) packed[t] = packed_weights.data() + places_in_block[t];
    for (std::int64_t band = 0; band * kPad < program.tensors[t].rows; ++band)
      pack(static_cast<int>(t), band);
  }
  next_packed.resize(program.instructions.size());
  for (std::size_t i = program.instructions.size(), next = i; i-- > 0;) {
    if (next < program.instructions.size()) {
      const int tensor = program.instructions[next].tensor;
      next_packed[i] = {packed[tensor], kernels.packed_bytes(kPad, padded(program.tensors[tensor].cols))};
    }
    if (program.instructions[i].op == Op::matmul) next = i;
  }
  std::int64_t place = 0;
  for (const State& state : program.states) {
    state_places.push_back(place);
    place += program.slots[state.read].width;
  }
  count_place = place;
  place += kCountWidth;
  for (const Instruction& instruction : program.instructions) {
    cache_places.push_back(place);
    if (instruction.op == Op::attend) place += 2 * program.window * program.slots[instruction.dst].width;
  }
}

void LoadedModel::pack(int tensor, std::int64_t band) {
  const TensorSpec& spec = program.tensors[tensor];
  const std::int8_t* from = weights[tensor].data();
  if (packed[tensor] != nullptr) kernels.pack(from, spec.rows, spec.cols, band, packed[tensor]);
  if (plain[tensor].empty()) return;
  const std::int64_t step = spec.kind == TensorKind::kVector ? 1 : padded(spec.cols);
  const std::int64_t end = std::min(spec.rows, (band + 1) * kPad);
  for (std::int64_t n = band * kPad; n < end; ++n) {
    std::copy_n(from + n * spec.cols, spec.cols, plain[tensor].data() + n * step);
  }
}

void fill_pair_noise(const LoadedModel& model, const NoiseSource& noise, std::uint32_t pair,
                     std::int8_t* out) {
  for (std::size_t t = 0; t < model.program.tensors.size(); ++t) {
    const TensorSpec& tensor = model.program.tensors[t];
    const bool vector = tensor.kind == TensorKind::kVector;
    exact::NoiseKey key{
        .seed = noise.seed, .epoch = noise.epoch, .pair = pair, .tensor = static_cast<std::uint16_t>(t)};
    const std::int64_t inputs = vector ? tensor.rows : tensor.cols;
    for (int j = 0; j < (vector ? 1 : model.shape.rank); ++j) {
      key.component = static_cast<std::uint8_t>(j);
      key.role = exact::NoiseRole::kA;
      model.kernels.fill_noise(key, 0, static_cast<std::uint32_t>(tensor.rows),
                               out + model.places[t].a + j * padded(tensor.rows));
      key.role = exact::NoiseRole::kB;
      model.kernels.fill_noise(key, 0, static_cast<std::uint32_t>(inputs),
                               out + model.places[t].b + j * padded(inputs));
    }
  }
}

}  // namespace clutch::cpu
