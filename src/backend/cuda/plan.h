// A program as this backend runs it: the tables that kernels read, the states as they lie on a device, the
// work of an update, and the tile of members that a block's shared memory holds. Host side only.
#pragma once

#include <vector>

#include "backend/backend.h"
#include "backend/cuda/arguments.h"
#include "backend/cuda/device.h"
#include "program/verify.h"

namespace clutch::cuda {

// Bytes that lie side by side in a member's states both as Program has them and on the device.
struct StateRun {
  std::uint64_t host, device, bytes;
};

struct Plan {
  device::Layout layout;
  std::vector<Step> steps;
  std::vector<Move> moves;
  std::vector<std::uint32_t> first_move;
  std::vector<StateRun> state_runs;
  std::uint32_t count = 0;        // of positions, on the device
  std::uint64_t state_bytes = 0;  // of a member, on the device; a multiple of kRowAlignment
  std::uint32_t trace_bytes = 0;  // of a token
  std::vector<std::uint64_t> elements;
  std::uint64_t element_count = 0;
  std::vector<VoteTile> narrow, wide, vectors;  // of matrices where f·A fits int8, and where it does not
  std::vector<WordRange> words;
};

// Whether a device of these facts can run the program; if not, what is in the way.
Status fits(const Program& program, const NoiseShape& noise, const Facts& facts);

// Of a program that fits.
Plan make_plan(const Program& program, const NoiseShape& noise, const std::vector<Bounds>& bounds);

// A tile of 16 · row_tiles members.
TileShape make_tile(const device::Layout& layout, int rank, const Facts& facts, std::uint32_t row_tiles);

// Weights are read once per tile and token, and processors take tiles in rounds: of those that fit, one of
// the fewest rounds, and of these the smallest.
TileShape choose_tile(const device::Layout& layout, int rank, const Facts& facts, std::uint32_t members);

// What the backend's buffers come to in training, with `blocks` tiles at a time.
std::vector<MemoryPart> memory_parts(const Plan& plan, const Workload& workload, const TileShape& tile,
                                     std::uint32_t blocks);

}  // namespace clutch::cuda
