#include "program/builder.h"

#include <utility>

namespace clutch {

Builder::Builder(std::string name, std::int64_t vocab, std::int64_t window) {
  program_.name = std::move(name);
  program_.vocab = vocab;
  program_.window = window;
}

int Builder::matrix(std::string name, int layer, std::int64_t rows, std::int64_t cols) {
  program_.tensors.push_back({std::move(name), layer, TensorKind::kMatrix, rows, cols, TensorSpec::kNoise});
  return static_cast<int>(program_.tensors.size()) - 1;
}

int Builder::vector(std::string name, int layer, std::int64_t width, int initial) {
  program_.tensors.push_back({std::move(name), layer, TensorKind::kVector, width, 1, initial});
  return static_cast<int>(program_.tensors.size()) - 1;
}

int Builder::state(std::string name, std::int64_t width) {
  program_.slots.push_back({std::move(name), width});
  const int slot = static_cast<int>(program_.slots.size()) - 1;
  program_.states.push_back({slot, kNothing});
  return slot;
}

void Builder::set_state(int read, int write) {
  for (State& state : program_.states) {
    if (state.read == read) state.write = write;
  }
}

int Builder::emit(std::string name, std::int64_t width, Instruction instruction) {
  program_.slots.push_back({std::move(name), width});
  instruction.dst = static_cast<int>(program_.slots.size()) - 1;
  program_.instructions.push_back(instruction);
  return instruction.dst;
}

int Builder::embed(std::string name, int matrix) {
  return emit(std::move(name), program_.tensors[matrix].cols, {.op = Op::embed, .tensor = matrix});
}

int Builder::matmul(std::string name, int x, int matrix, std::int64_t divisor) {
  return emit(std::move(name), program_.tensors[matrix].rows,
              {.op = Op::matmul, .in = {x, kNothing, kNothing}, .tensor = matrix, .divisor = divisor});
}

int Builder::norm(std::string name, int x, int gain, exact::Rounding rounding) {
  return emit(std::move(name), width(x),
              {.op = Op::norm, .in = {x, kNothing, kNothing}, .tensor = gain, .rounding = rounding});
}

int Builder::add(std::string name, int x, int y) {
  return emit(std::move(name), width(x), {.op = Op::add, .in = {x, y, kNothing}});
}

int Builder::add_bias(std::string name, int x, int y, int bias) {
  return emit(std::move(name), width(x), {.op = Op::add_bias, .in = {x, y, kNothing}, .tensor = bias});
}

int Builder::gate(std::string name, int x, int y) {
  return emit(std::move(name), width(y), {.op = Op::gate, .in = {x, y, kNothing}});
}

int Builder::mix(std::string name, int x, int y, int z) {
  return emit(std::move(name), width(y), {.op = Op::mix, .in = {x, y, z}});
}

int Builder::relu(std::string name, int x) {
  return emit(std::move(name), width(x), {.op = Op::relu, .in = {x, kNothing, kNothing}});
}

int Builder::bias(std::string name, int x, int bias) {
  return emit(std::move(name), width(x), {.op = Op::bias, .in = {x, kNothing, kNothing}, .tensor = bias});
}

int Builder::gelu(std::string name, int x) {
  return emit(std::move(name), width(x), {.op = Op::gelu, .in = {x, kNothing, kNothing}});
}

int Builder::rescale(std::string name, int x) {
  return emit(std::move(name), width(x), {.op = Op::rescale, .in = {x, kNothing, kNothing}});
}

int Builder::add_rescale(std::string name, int x, int y) {
  return emit(std::move(name), width(x), {.op = Op::add_rescale, .in = {x, y, kNothing}});
}

int Builder::rotate(std::string name, int x) {
  return emit(std::move(name), width(x), {.op = Op::rotate, .in = {x, kNothing, kNothing}});
}

int Builder::attend(std::string name, int query, int key, int value) {
  return emit(std::move(name), width(query), {.op = Op::attend, .in = {query, key, value}});
}

Program Builder::finish(int output) {
  program_.output = output;
  return std::move(program_);
}

}  // namespace clutch
