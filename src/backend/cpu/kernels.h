// What an instruction set provides: one table of functions over plain pointers, filled by one translation
// unit per instruction set (isa/). The evaluator above decides which rows, weights and noise; a kernel
// computes rows.
//
// A row is one slot of one token of one member: int8, padded with zeros to a multiple of kPad. Rows of a call
// lie `stride` bytes apart; when a call covers tokens of one member, noise and vectors have step 0 and are
// shared; when it covers members at one token, they step from row to row.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/arithmetic.h"
#include "exact/noise.h"

namespace clutch::cpu {

struct RowsIn {
  const std::int8_t* data;
  std::ptrdiff_t stride;
  const std::int8_t* row(std::int64_t r) const { return data + r * stride; }
};

struct RowsOut {
  std::int8_t* data;
  std::ptrdiff_t stride;
  std::int8_t* row(std::int64_t r) const { return data + r * stride; }
};

// One pair's noise on one matrix, as one of its members sees it.
struct MatrixNoise {
  const std::int8_t* a;  // [rank][rows padded]
  const std::int8_t* b;  // [rank][cols padded]
  int sign;              // +1 or -1
};

// Division of any value by a constant, rounding down, for results to be clipped to [-127, 127]: first an
// exact shift by `shift`, then, with v the shifted value limited to ±128·divisor, floor(v / divisor) + 128 =
// ((v + 128·divisor)·multiplier) >> bits. Exact, as 256·divisor² < 2^bits and multiplier = floor(2^bits /
// divisor) + 1 exceeds the real reciprocal by less than divisor / 2^bits in all.
struct Divider {
  int shift;             // the power of two in the whole divisor
  std::int64_t divisor;  // the odd rest; 1 needs no multiplication
  std::uint64_t multiplier;
  int bits;
};
Divider make_divider(std::int64_t divisor);

struct MatmulTask {
  const void* packed;  // by pack()
  std::int64_t n, k;   // padded
  std::int64_t rows;
  RowsIn x;   // [rows][k]
  RowsOut y;  // [rows][n]
  Divider divider;
  const MatrixNoise* noise;  // null: none; else one for all rows (noise_step 0) or one a row (1)
  int noise_step;
  int rank;
  int noise_shift;
  bool wide_noise;  // (x·B)·Aᵀ may leave 32 bits
  void* scratch;    // of scratch_bytes(n, k)
};

// Element-wise ops with up to three slots and a vector.
struct RowTask {
  std::int64_t width;  // padded
  std::int64_t rows;
  RowsIn x, y, z;
  RowsOut out;
  RowsIn vector;  // the member's own vector; stride 0: shared by all rows
};

struct NormTask {
  RowTask rows;
  std::int64_t width;  // not padded: what the mean is over
  exact::Rounding rounding;
};

// Votes of some pairs added to rows [n_begin, n_end) of a matrix's votes.
struct VotesTask {
  std::int32_t* votes;                // [n_end - n_begin][k]
  std::int64_t n_begin, n_end, n, k;  // k padded, n the stride of a
  std::int64_t terms;                 // pairs · rank
  const std::int8_t* a;               // [terms][n]
  const std::int8_t* b;               // [terms][k]
  const std::int8_t* fitness;         // [terms / rank]
  int rank;
};

struct Kernels {
  const char* name;  // "scalar"

  std::size_t (*packed_bytes)(std::int64_t n, std::int64_t k);
  // weights [rows][cols] into packed [n][k] (n, k padded).
  void (*pack)(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, void* packed);
  std::size_t (*scratch_bytes)(std::int64_t n, std::int64_t k);
  void (*matmul)(const MatmulTask& task);
  void (*norm)(const NormTask& task);
  void (*add)(const RowTask& task);
  void (*add_bias)(const RowTask& task);
  void (*gate)(const RowTask& task);
  void (*mix)(const RowTask& task);
  void (*relu)(const RowTask& task);
  // The loss of each row's target, added up. logits [rows][vocab padded].
  std::int64_t (*loss)(RowsIn logits, std::int64_t rows, std::int64_t vocab, const std::uint16_t* targets);
  void (*fill_noise)(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count, std::int8_t* out);
  void (*votes)(const VotesTask& task);
};

const Kernels& scalar_kernels();

}  // namespace clutch::cpu
