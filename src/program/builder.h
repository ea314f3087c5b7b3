// Writes a program op by op. Shapes are not checked here: verify() judges the finished program, whoever made
// it.
#pragma once

#include <string>

#include "program/program.h"

namespace clutch {

class Builder {
 public:
  // `window` is the number of positions, for programs that have any.
  Builder(std::string name, std::int64_t vocab, std::int64_t window = 0);

  // Tensors, by index. `layer` stacks tensors of one name in files.
  int matrix(std::string name, int layer, std::int64_t rows, std::int64_t cols);  // starts as noise
  int vector(std::string name, int layer, std::int64_t width, int initial);       // starts as a constant

  // A state's slot for reading; set_state names what it becomes after the token.
  int state(std::string name, std::int64_t width);
  void set_state(int read, int write);

  // Ops; each returns the slot it writes, called `name`.
  int embed(std::string name, int matrix);
  int matmul(std::string name, int x, int matrix, std::int64_t divisor);
  int norm(std::string name, int x, int gain, exact::Rounding rounding);
  int add(std::string name, int x, int y);
  int add_bias(std::string name, int x, int y, int bias);
  int gate(std::string name, int x, int y);
  int mix(std::string name, int x, int y, int z);
  int relu(std::string name, int x);
  int bias(std::string name, int x, int bias);
  int gelu(std::string name, int x);
  int rescale(std::string name, int x);
  int add_rescale(std::string name, int x, int y);
  int rotate(std::string name, int x);
  int attend(std::string name, int query, int key, int value);

  Program finish(int output);

 private:
  int emit(std::string name, std::int64_t width, Instruction instruction);
  std::int64_t width(int slot) const { return program_.slots[slot].width; }
  Program program_;
};

}  // namespace clutch
