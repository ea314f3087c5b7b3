// What the host hands to kernels: plain structs of numbers and device pointers, the same for every vendor.
// All offsets and lengths are in bytes unless said otherwise.
#pragma once

#include <cstdint>

#include "backend/device/layout.h"
#include "exact/attention.h"
#include "exact/rules.h"

namespace clutch::cuda {

// Rows of weights, noise and slots begin at multiples of this, with zeros (weights, noise) up to the next: a
// round of products takes 64 elements of K, so that none has a tail.
constexpr std::uint32_t kRowAlignment = 64;
constexpr std::uint32_t kRowTile = 16;                       // members that a matrix instruction takes
constexpr std::uint32_t kRowTileCounts[] = {1, 2, 4, 6, 8};  // that a tile of members may have
constexpr std::uint32_t kVoteTile = 128;  // rows and columns of the votes that a block adds up
constexpr std::uint32_t kVoteTerms = 64;  // terms of votes per round

// An instruction as kernels read it. Of layout.h's fields, keys and values are places in the device's states.
struct Step : device::FlatInstruction {
  // matmul: with 0 <= u <= 256 · divisor, floor(u / divisor) = u · multiplier >> shift
  std::uint32_t multiplier = 0, shift = 0;
  std::uint32_t narrow = 0;  // matmul: 1 where (x·B)·A fits 32 bits
  std::uint32_t trace = 0;   // where its result begins in a token's trace
};

// A state of a member on its way between the device's states and its slots.
struct Move {
  std::uint32_t state = 0, slot = 0, width = 0;  // where it begins in each, and its elements
  std::uint32_t stores = 0;                      // 1: into the states
};

// The tables of exact/, where the device has them.
struct Tables {
  const std::uint32_t* exp2;     // [17]
  const std::uint32_t* log2;     // [257]
  const std::uint32_t* softmax;  // [256]
  const std::int8_t* gelu;       // [255]
  const exact::Turn* turns;      // [window][kTurnPairs]
};

// A block's tile of members, and where its parts lie in the block's shared memory.
struct TileShape {
  std::uint32_t members = 0;      // a multiple of kRowTile
  std::uint32_t pitch = 0;        // from a member's slots to the next one's
  std::uint32_t projections = 0;  // [members][rank] words: x·B of the product in work
  std::uint32_t weights = 0;      // [warps][window] words: of attention
  std::uint32_t losses = 0;       // [members] of 64 bits
  std::uint32_t tokens = 0;       // [members] words: the inputs
  std::uint32_t positions = 0;    // [members] words
  std::uint32_t bytes = 0;        // in all; slots come first
};

// A program and its weights, loaded.
struct Model {
  const Step* steps;
  const device::FlatTensor* tensors;
  const Move* moves;                // of all moments of a token (layout.h), in order
  const std::uint32_t* first_move;  // [step_count + 3]: of each moment, and their number
  std::uint32_t step_count, tensor_count;
  std::uint32_t output, vocab, window;
  std::uint32_t count;        // of positions, in the device's states
  std::uint32_t state_bytes;  // of one member, on the device
  std::uint32_t trace_bytes;  // of one token
  std::uint32_t rank, noise_shift;
  std::uint64_t noise_bytes;  // of one pair
  std::int8_t* weights;
  Tables tables;
};

struct Seed {
  std::uint64_t seed;
  std::uint32_t epoch, first_pair;
};

struct EvaluateArguments {
  Model model;
  TileShape tile;
  Seed seed;
  std::uint32_t noisy;  // 0: every member sees the plain weights
  std::uint32_t members, length;
  const std::uint16_t* text;       // [streams][length + 1]
  const std::uint32_t* stream_of;  // [members]
  std::int8_t* states;             // [members], or [blocks][tile.members] where they begin from zeros
  std::uint32_t keeps_states;
  std::int8_t* noise;    // [blocks][tile.members / 2] of noise_bytes
  std::int64_t* losses;  // [members]
  std::int8_t* logits;   // null, or [members][length][vocab]
  std::int8_t* trace;    // null, or [length] of trace_bytes: of member `traced`
  std::uint32_t traced;
};

// Where votes are added up: a tensor, and of a matrix the first row and column of a tile, of a vector the
// first of eight elements.
struct VoteTile {
  std::uint32_t tensor, row, column;
};

// Weights of one tensor that a block gives their new values: words of eight, of its elements in order.
struct WordRange {
  std::uint32_t tensor, first, count;
};

struct UpdateResults {
  unsigned long long moved, digest;
};

struct UpdateArguments {
  Model model;
  Seed seed;
  const std::int8_t* fitness;  // [pairs]
  std::uint32_t pairs;
  // 1 where f·A may leave int8: it is split into high · 128 + low, and a tile has half as many rows of both
  std::uint32_t wide;
  const VoteTile* matrices;
  const VoteTile* vectors;
  const WordRange* words;
  std::uint32_t matrix_count, vector_count, word_count;
  std::uint32_t matrix_splits, vector_splits;  // blocks that share a tile's terms
  const std::uint64_t* elements;               // [tensors]: the first element of each, in votes and states
  std::uint32_t* votes;                        // modulo 2^32
  std::int32_t* states[exact::kMaxRuleStates];
  std::uint32_t state_count;
  exact::RuleStep matrix, vector;
  UpdateResults* results;
};

}  // namespace clutch::cuda
