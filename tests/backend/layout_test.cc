// What device backends upload: places that never collide, rows filled up with zeros, states as Program has
// them.
#include "backend/device/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "backend/random_program.h"
#include "models/model.h"

namespace clutch::device {
namespace {

using testing::Random;

// Runs a program by names: a slot's bytes hold its number, and whoever reads them must still find it. States
// are loaded before, and stored after, what the moment's instruction does, whichever order is worse.
void expect_nothing_overwritten(const Program& program, const Layout& layout) {
  std::vector<int> bytes(layout.slot_bytes, -1);
  const auto put = [&](std::uint32_t at, std::int64_t width, int slot) {
    ASSERT_LE(at + width, bytes.size());
    std::fill_n(bytes.begin() + at, width, slot);
  };
  const auto expect = [&](std::uint32_t at, std::int64_t width, int slot) {
    for (std::int64_t i = 0; i < width; ++i) ASSERT_EQ(bytes[at + i], slot) << program.slots[slot].name;
  };
  const std::uint32_t end = static_cast<std::uint32_t>(program.instructions.size()) + 1;
  std::set<int> written;
  const auto move = [&](std::uint32_t moment, bool loads) {
    for (std::size_t s = 0; s < program.states.size(); ++s) {
      const FlatState& state = layout.states[s];
      if (loads && state.load == moment) put(state.read, state.width, program.states[s].read);
      if (loads || state.store != moment) continue;
      EXPECT_LT(state.load, state.store) << "the old value is loaded before the new one replaces it";
      expect(state.write, state.width, program.states[s].write);
      written.insert(static_cast<int>(s));
    }
  };
  for (std::uint32_t moment = 0; moment <= end; ++moment) {
    move(moment, true);
    if (moment > 0 && moment < end) {
      const Instruction& instruction = program.instructions[moment - 1];
      const FlatInstruction& flat = layout.instructions[moment - 1];
      put(flat.dst, flat.width, instruction.dst);
      for (int k = 0; k < info(instruction.op).slots_read; ++k)
        expect(flat.in[k], program.slots[instruction.in[k]].width, instruction.in[k]);
    }
    move(moment, false);
  }
  EXPECT_EQ(written.size(), program.states.size());
  expect(layout.output, layout.vocab, program.output);
}

TEST(Layout, KeepsEverySlotUntilItsLastReader) {
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const Program program = testing::random_program(random, random.in(2, 300));
    for (const StateMoves moves : {StateMoves::kWholeToken, StateMoves::kAsNeeded})
      expect_nothing_overwritten(program, make_layout(program, {}, 4, moves));
  }
}

TEST(Layout, StatesThatMoveAsNeededTakeTheRoomOfOne) {
  const auto bytes = [](std::int64_t layers, StateMoves moves) {
    return make_layout(build_program({.dim = 256, .layers = layers}, {}).value(), {}, 64, moves).slot_bytes;
  };
  EXPECT_EQ(bytes(6, StateMoves::kWholeToken), 13u * 256);
  EXPECT_EQ(bytes(6, StateMoves::kAsNeeded), 6u * 256);
  EXPECT_EQ(bytes(1, StateMoves::kAsNeeded), 6u * 256);
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
