// What device backends upload: places that never collide, rows filled up with zeros, states as Program has
// them.
#include "backend/device/layout.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "backend/random_program.h"

namespace clutch::device {
namespace {

using testing::Random;

// Runs a program by names: a slot's bytes hold its number, and whoever reads them must still find it.
void expect_nothing_overwritten(const Program& program, const Layout& layout) {
  std::vector<int> bytes(layout.slot_bytes, -1);
  const auto put = [&](std::uint32_t at, std::int64_t width, int slot) {
    ASSERT_LE(at + width, bytes.size());
    std::fill_n(bytes.begin() + at, width, slot);
  };
  const auto expect = [&](std::uint32_t at, std::int64_t width, int slot) {
    for (std::int64_t i = 0; i < width; ++i) ASSERT_EQ(bytes[at + i], slot) << program.slots[slot].name;
  };
  for (std::size_t s = 0; s < program.states.size(); ++s) {
    put(layout.states[s].read, layout.states[s].width, program.states[s].read);
  }
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    const FlatInstruction& flat = layout.instructions[i];
    put(flat.dst, flat.width, instruction.dst);
    for (int k = 0; k < info(instruction.op).slots_read; ++k) {
      expect(flat.in[k], program.slots[instruction.in[k]].width, instruction.in[k]);
    }
  }
  for (std::size_t s = 0; s < program.states.size(); ++s) {
    expect(layout.states[s].write, layout.states[s].width, program.states[s].write);
  }
  expect(layout.output, layout.vocab, program.output);
}

TEST(Layout, KeepsEverySlotUntilItsLastReader) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Program program = testing::random_program(random, random.in(2, 300));
    expect_nothing_overwritten(program, make_layout(program, {}, 4));
  }
}

TEST(Layout, FillsRowsUpWithZerosAndFindsThemAgain) {
  for (const std::uint32_t alignment : {4u, 16u, 64u}) {
    Random random(alignment);
    const Program program = testing::random_program(random, 37);
    const Layout layout = make_layout(program, {.rank = 3, .sigma_shift = 2}, alignment);
    const Weights weights = testing::random_weights(random, program);
    const auto flat = flatten(layout, weights);
    EXPECT_EQ(unflatten(layout, flat), weights);
    std::int64_t in_rows = 0, in_flat = 0;
    for (const auto& tensor : weights)
      in_rows += std::count_if(tensor.begin(), tensor.end(), [](auto w) { return w != 0; });
    for (const auto value : flat) in_flat += value != 0;
    EXPECT_EQ(in_flat, in_rows);
    for (const FlatTensor& t : layout.tensors) {
      for (const std::uint32_t at : {t.weights, t.stride, t.noise_a, t.stride_a, t.noise_b, t.stride_b}) {
        EXPECT_EQ(at % alignment, 0u);
      }
    }
    for (const FlatInstruction& i : layout.instructions) EXPECT_EQ(i.dst % alignment, 0u);
  }
}

}  // namespace
}  // namespace clutch::device
