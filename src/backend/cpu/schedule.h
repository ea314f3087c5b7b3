// From a program to an order of work over a chunk of tokens. The text is known in advance, so whatever does
// not depend on a state can run for all tokens of a chunk at once; only instructions on a path from a state
// to its own next value must go token by token. What depends on nothing but which token it is, like the first
// layer's products with its input, is the same wherever the token comes again. And where each slot lives in a
// chunk's scratch memory.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/cpu/kernels.h"
#include "program/program.h"

namespace clutch::cpu {

// An instruction, maybe with a bias that its kernel adds on the way, or the reading of a state: slots[read]
// of a token becomes slots[write] of the token before.
struct Node {
  int instruction = kNothing;
  int state = kNothing;  // index into Program::states, where instruction is kNothing
  int bias = kNothing;   // the instruction of a bias done at the same time: see Fusion

  std::vector<int> reads(const Program& program) const;
  struct Written {
    int out = kNothing, sum = kNothing;  // slots, as the kernel's task calls them
  };
  Written writes(const Program& program) const;
};

// With shortcuts, one kernel computes pairs of instructions. Where nothing else reads the slot between them,
// which is then never written: norm then bias; bias then gelu; bias then add_rescale, as its second operand;
// add_bias then mix, as its third. And add_bias then gate, as its first operand, where the two follow each
// other: both slots are written. And groups by token are set apart, where there is a product in them.
enum class Shortcuts { kNone, kAll };

// In what order the nodes of a group meet the rows of a tile's chunk.
enum class Order {
  kNodeByNode,      // each node for all members and tokens: products, which want many rows
  kMemberByMember,  // all nodes for a member's tokens: what goes row by row finds its input in the
                    // first-level cache
  kTokenByToken,    // all nodes for one token of all members: they depend on each other through a state
};
struct Group {
  Order order = Order::kNodeByNode;
  bool by_token = false;  // depends on a row's token alone
  std::vector<Node> nodes;
};

struct Schedule {
  std::vector<Group> groups;
  std::vector<int> kept;              // slots that groups by token, which come first, write and others read
  std::int64_t kept_bytes = 0;        // of their rows of a token
  std::int64_t token_multiplies = 0;  // of the products by token, for a row
  std::vector<std::int64_t>
      offsets;                 // by slot, into a row's scratch; slots that are never alive together share
  std::int64_t row_bytes = 0;  // scratch of one token of one member
  bool loops = false;          // some group goes token by token
};

// For a program that verify() accepts. Without shortcuts every instruction writes its slot for every token.
Schedule make_schedule(const Program& program, Shortcuts shortcuts);

}  // namespace clutch::cpu
