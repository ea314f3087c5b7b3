// A loaded program as the kernels' tables, and how its members' memory is cut up: offsets in words, batches
// of members whose buffers fit the device.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "backend/device/cost.h"
#include "backend/device/gpu.h"
#include "backend/device/layout.h"
#include "backend/device/tables.h"
#include "base/status.h"

namespace clutch::device {

struct Plan {
  Layout layout;
  std::vector<DeviceInstruction> instructions;
  std::vector<DeviceTensor> tensors;
  std::vector<DeviceState> states;
  std::uint32_t slot_words = 0, state_words = 0, scratch_words = 0;  // of a member
  std::uint32_t noise_words = 0;                                     // of a pair
  std::uint32_t count_at = 0;                                        // words of a member's states
  std::uint32_t trace_words = 0;                                     // of a token
  bool shared_slots = false;                                         // a tile's slots fit shared memory
  std::uint32_t lanes = 0;                                           // invocations of a workgroup
  Cost cost;                                                         // with as many
  std::uint32_t batch = 0;  // members that are evaluated at a time: whole tiles

  // Pieces of a member's states: `bytes` at `host` of Program's order, at `device` here.
  struct Piece {
    std::uint64_t host, device, bytes;
  };
  std::vector<Piece> pieces;
};

// What of the program does not fit the device, with the numbers; or success.
Status check_fit(const std::string& device, const Program& program, const NoiseShape& noise,
                 const Limits& limits);

// Of a program that fits.
Plan make_plan(const Program& program, const NoiseShape& noise, const Limits& limits);

}  // namespace clutch::device
