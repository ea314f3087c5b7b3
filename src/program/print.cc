#include "program/print.h"

#include <fmt/format.h>

namespace clutch {
namespace {

std::string slot_name(const Program& program, int slot) {
  if (slot < 0 || slot >= static_cast<int>(program.slots.size())) return fmt::format("%{}?", slot);
  return fmt::format("%{} {}[{}]", slot, program.slots[slot].name, program.slots[slot].width);
}

}  // namespace

std::string print_instruction(const Program& program, int index) {
  const Instruction& instruction = program.instructions[index];
  const OpInfo& op = info(instruction.op);
  std::string line = fmt::format("{} = {}", slot_name(program, instruction.dst), op.name);
  for (int i = 0; i < op.slots_read; ++i) line += fmt::format(" %{}", instruction.in[i]);
  if (instruction.tensor >= 0 && instruction.tensor < static_cast<int>(program.tensors.size())) {
    line += " " + program.tensors[instruction.tensor].label();
  }
  if (op.attribute == Attribute::kDivisor) line += fmt::format(" // {}", instruction.divisor);
  if (op.attribute == Attribute::kRounding)
    line += instruction.rounding == exact::Rounding::kFloor ? " floor" : " truncate";
  return line;
}

std::string print_program(const Program& program) {
  std::string text =
      fmt::format("program {} vocab {}: {} parameters, {} states, {} multiplies per token\n", program.name,
                  program.vocab, program.parameters(), program.state_width(), program.multiplies());
  for (const TensorSpec& tensor : program.tensors) {
    text += fmt::format("tensor {} int8[{}][{}] starts as {}\n", tensor.label(), tensor.rows, tensor.cols,
                        tensor.initial == TensorSpec::kNoise ? "noise" : std::to_string(tensor.initial));
  }
  for (const State& state : program.states) {
    text += fmt::format("state {} becomes %{}\n", slot_name(program, state.read), state.write);
  }
  if (program.window > 0) text += fmt::format("window of {} positions\n", program.window);
  for (int i = 0; i < static_cast<int>(program.instructions.size()); ++i) {
    text += print_instruction(program, i) + "\n";
  }
  return text + fmt::format("output %{}\n", program.output);
}

std::string ops_markdown() {
  std::string text =
      "# Ops\n\nMade from the list in `src/program/ops.h` by `clutch info --ops`; a test holds this page "
      "against it.\n\n"
      "`x`, `y`, `z` are the slots read, in order; `W` is a matrix [N][K] and `w` a vector [N], as the "
      "member sees\n"
      "them, that is perturbed (NUMERICS.md). `//` divides rounding down; `clip` limits to [-127, 127].\n\n"
      "| op | slots read | tensor | attributes | value of element n |\n|---|---|---|---|---|\n";
  for (const OpInfo& op : kOps) {
    const char* tensor = op.tensor == TensorKind::kMatrix   ? "matrix"
                         : op.tensor == TensorKind::kVector ? "vector"
                                                            : "";
    const char* attribute = op.attribute == Attribute::kDivisor    ? "divisor"
                            : op.attribute == Attribute::kRounding ? "rounding"
                            : op.attribute == Attribute::kPosition ? "position"
                                                                   : "";
    text += fmt::format("| `{}` | {} | {} | {} | `{}` |\n", op.name, op.slots_read, tensor, attribute,
                        op.formula);
  }
  return text;
}

}  // namespace clutch
