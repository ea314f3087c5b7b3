#include "backend/device/layout.h"

#include <algorithm>
#include <limits>

#include "base/check.h"
#include "program/places.h"

namespace clutch::device {
namespace {

std::int64_t filled_up(std::int64_t bytes, std::uint32_t alignment) {
  return exact::divide_floor(bytes + alignment - 1, alignment) * alignment;
}

std::uint32_t offset(std::int64_t bytes) {
  check(bytes < kNone, "an offset of a layout fits 32 bits");
  return static_cast<std::uint32_t>(bytes);
}

// Of a state in a token: its slot to read is whole from `load` on, its slot to write until `store`.
struct Moves {
  int load = 0, store = 0;
};

// Loaded at the moment before the first use, and before the writer, after which the old value is overwritten;
// stored at the moment after the writer. What no instruction writes (a slot that another state is read from)
// is stored as the token ends.
std::vector<Moves> moves_of(const Program& program, StateMoves moves) {
  const int end = static_cast<int>(program.instructions.size()) + 1;
  std::vector<Moves> all;
  for (const State& state : program.states) {
    Moves& m = all.emplace_back(Moves{0, end});
    if (moves == StateMoves::kWholeToken) continue;
    int first = end, writer = end;
    for (int i = 0; i + 1 < end; ++i) {
      const Instruction& instruction = program.instructions[i];
      const bool reads = std::find(std::begin(instruction.in), std::end(instruction.in), state.read) !=
                         std::end(instruction.in);
      if (reads) first = std::min(first, i + 1);
      if (instruction.dst == state.write) writer = i + 1;
    }
    m.load = std::min(first, writer) - 1;
    m.store = std::min(writer + 1, end);
  }
  return all;
}

// In moments of a token, of all slots.
std::vector<Lifetime> lifetimes(const Program& program, std::uint32_t alignment,
                                const std::vector<Moves>& moves) {
  const int end = static_cast<int>(program.instructions.size()) + 1;
  std::vector<Lifetime> alive;
  for (const Slot& slot : program.slots) alive.push_back({0, 0, filled_up(slot.width, alignment)});
  for (std::size_t s = 0; s < moves.size(); ++s)
    alive[program.states[s].read].first = alive[program.states[s].read].last = moves[s].load;
  for (int i = 0; i + 1 < end; ++i) {
    const Instruction& instruction = program.instructions[i];
    alive[instruction.dst].first = alive[instruction.dst].last = i + 1;
    for (const int in : instruction.in) {
      if (in != kNothing) alive[in].last = std::max(alive[in].last, i + 1);
    }
  }
  for (std::size_t s = 0; s < moves.size(); ++s) {
    Lifetime& write = alive[program.states[s].write];
    write.last = std::max(write.last, moves[s].store);
  }
  alive[program.output].last = end;
  return alive;
}

void add_tensors(const Program& program, const NoiseShape& noise, std::uint32_t alignment, Layout& layout) {
  for (const TensorSpec& spec : program.tensors) {
    const bool vector = spec.kind == TensorKind::kVector;
    FlatTensor t{.rows = offset(spec.rows), .cols = offset(spec.cols), .is_vector = vector};
    const std::int64_t stride = filled_up(vector ? spec.rows : spec.cols, alignment);
    t.weights = offset(static_cast<std::int64_t>(layout.weight_bytes));
    t.stride = offset(stride);
    layout.weight_bytes += static_cast<std::uint64_t>(vector ? stride : spec.rows * stride);
    t.components = vector ? 1 : static_cast<std::uint32_t>(noise.rank);
    t.stride_a = offset(filled_up(spec.rows, alignment));
    t.stride_b = t.stride;
    t.noise_a = offset(static_cast<std::int64_t>(layout.noise_bytes));
    layout.noise_bytes += std::uint64_t{t.components} * t.stride_a;
    t.noise_b = offset(static_cast<std::int64_t>(layout.noise_bytes));
    layout.noise_bytes += std::uint64_t{t.components} * t.stride_b;
    layout.tensors.push_back(t);
  }
}

// States in the order of program.h: the program's own, the count, the caches.
void add_states(const Program& program, const std::vector<std::int64_t>& slots,
                const std::vector<Moves>& moves, Layout& layout) {
  std::int64_t at = 0;
  for (std::size_t s = 0; s < moves.size(); ++s) {
    const State& state = program.states[s];
    const std::int64_t width = program.slots[state.read].width;
    layout.states.push_back({offset(at), static_cast<std::uint32_t>(width), offset(slots[state.read]),
                             offset(slots[state.write]), static_cast<std::uint32_t>(moves[s].load),
                             static_cast<std::uint32_t>(moves[s].store)});
    at += width;
  }
  if (program.window > 0) {
    layout.count = offset(at);
    at += kCountWidth;
  }
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    if (instruction.op != Op::attend) continue;
    const std::int64_t cache = program.window * program.slots[instruction.dst].width;
    layout.instructions[i].keys = offset(at);
    layout.instructions[i].values = offset(at + cache);
    at += 2 * cache;
  }
  check_equal(at, program.state_width(), "bytes of a member's states");
  layout.state_bytes = static_cast<std::uint64_t>(at);
}

FlatInstruction flat(const Program& program, const Instruction& instruction,
                     const std::vector<std::int64_t>& slots) {
  FlatInstruction f{.op = static_cast<std::uint32_t>(instruction.op)};
  f.dst = offset(slots[instruction.dst]);
  f.width = offset(program.slots[instruction.dst].width);
  for (int i = 0; i < info(instruction.op).slots_read; ++i) f.in[i] = offset(slots[instruction.in[i]]);
  if (f.in[0] != kNone) f.in_width = offset(program.slots[instruction.in[0]].width);
  if (instruction.tensor != kNothing) f.tensor = static_cast<std::uint32_t>(instruction.tensor);
  f.divisor = offset(instruction.divisor);
  f.truncates = instruction.rounding == exact::Rounding::kTruncate;
  return f;
}

}  // namespace

Layout make_layout(const Program& program, const NoiseShape& noise, std::uint32_t row_alignment,
                   StateMoves state_moves) {
  check(row_alignment >= 4 && (row_alignment & (row_alignment - 1)) == 0,
        "alignment is a power of two from 4");
  Layout layout;
  const std::vector<Moves> moves = moves_of(program, state_moves);
  const Places slots = place(lifetimes(program, row_alignment, moves));
  for (const Instruction& instruction : program.instructions) {
    layout.instructions.push_back(flat(program, instruction, slots.offsets));
  }
  add_tensors(program, noise, row_alignment, layout);
  add_states(program, slots.offsets, moves, layout);
  layout.output = offset(slots.offsets[program.output]);
  layout.vocab = offset(program.vocab);
  layout.window = offset(program.window);
  layout.slot_bytes = static_cast<std::uint64_t>(slots.bytes);
  return layout;
}

std::vector<std::int8_t> flatten(const Layout& layout, const Weights& weights) {
  std::vector<std::int8_t> flat(layout.weight_bytes);
  for_rows(layout, [&](std::size_t tensor, std::size_t from, std::size_t to, std::size_t count) {
    std::copy_n(weights[tensor].begin() + static_cast<std::ptrdiff_t>(from), count,
                flat.begin() + static_cast<std::ptrdiff_t>(to));
  });
  return flat;
}

Weights unflatten(const Layout& layout, const std::vector<std::int8_t>& flat) {
  Weights weights;
  for (const FlatTensor& t : layout.tensors) weights.emplace_back(std::size_t{t.rows} * t.cols);
  for_rows(layout, [&](std::size_t tensor, std::size_t to, std::size_t from, std::size_t count) {
    std::copy_n(flat.begin() + static_cast<std::ptrdiff_t>(from), count,
                weights[tensor].begin() + static_cast<std::ptrdiff_t>(to));
  });
  return weights;
}

}  // namespace clutch::device
