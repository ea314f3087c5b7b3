// From a program to an order of work over a chunk of tokens. The text is known in advance, so whatever does
// not depend on a state can run for all tokens of a chunk at once; only instructions on a path from a state
// to its own next value must go token by token. And where each slot lives in a chunk's scratch memory.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/kernels.h"
#include "program/program.h"

namespace clutch::cpu {

// An instruction, or the reading of a state: slots[read] of a token becomes slots[write] of the token before.
struct Node {
  int instruction = kNothing;
  int state = kNothing;  // index into Program::states, where instruction is kNothing
};

// Nodes that run together: for all tokens of the chunk, node after node; or, where they depend on each other
// through a state, token after token.
struct Group {
  bool token_by_token = false;
  std::vector<Node> nodes;
};

struct Schedule {
  std::vector<Group> groups;
  std::vector<std::int64_t>
      offsets;                 // by slot, into a row's scratch; slots that are never alive together share
  std::int64_t row_bytes = 0;  // scratch of one token of one member
};

// For a program that verify() accepts.
Schedule make_schedule(const Program& program);

}  // namespace clutch::cpu
