// What an instruction set provides: one table of functions over plain pointers, filled by one translation
// unit per instruction set (isa/). The evaluator above decides which rows, weights and noise; a kernel
// computes rows.
//
// A row is one slot of one token of one member: int8, padded with zeros to a multiple of kPad. A call covers
// some members and some tokens: `members` times `tokens` rows, a member's own noise and vectors shared by its
// tokens.
#pragma once

#include <cstddef>
#include <cstdint>

#include "backend/cpu/turns.h"
#include "exact/arithmetic.h"
#include "exact/attention.h"
#include "exact/noise.h"
#include "exact/rules.h"

namespace clutch::cpu {

// Widths are padded with zeros to a multiple of this, so that kernels have no tails: every op maps zeros to
// zeros where weights, biases and noise are zero too. Matrices are packed in bands of as many rows.
constexpr std::int64_t kPad = 64;
constexpr std::int64_t padded(std::int64_t width) { return (width + kPad - 1) / kPad * kPad; }

// Where the row of (member, token) lies: data + member · member_step + token · token_step.
template <class T>
struct RowsOf {
  T* data;
  std::ptrdiff_t member_step, token_step;
  T* row(std::int64_t member, std::int64_t token) const {
    return data + member * member_step + token * token_step;
  }
};
using RowsIn = RowsOf<const std::int8_t>;
using RowsOut = RowsOf<std::int8_t>;

// One pair's noise on one matrix, as one of its members sees it.
struct MatrixNoise {
  const std::int8_t* a;  // [rank][rows padded]
  const std::int8_t* b;  // [rank][cols padded]
  int sign;              // +1 or -1
};

// Division of any value by a constant, rounding down, for results to be clipped to [-127, 127]: first an
// exact shift by `shift`, then, with v the shifted value limited to ±128·divisor, floor(v / divisor) + 128 =
// ((v + 128·divisor)·multiplier) >> bits. Exact, as 256·divisor² < 2^bits and multiplier = floor(2^bits /
// divisor) + 1 exceeds the real reciprocal by less than divisor / 2^bits in all. At least 16 bits; where the
// odd divisor is below 128, the multiplier fits 16 bits too (2^bits / divisor <= 2^10 · 2^floor(log2
// divisor)).
struct Divider {
  int shift;             // the power of two in the whole divisor
  std::int64_t divisor;  // the odd rest; 1 needs no multiplication
  std::uint64_t multiplier;
  int bits;
};
Divider make_divider(std::int64_t divisor);

// Memory that will be read soon.
struct Ahead {
  const std::byte* data;
  std::size_t bytes;
};

struct MatmulTask {
  const void* packed;  // by pack()
  std::int64_t n, k;   // padded
  std::int64_t members, tokens;
  RowsIn x;   // rows of k
  RowsOut y;  // rows of n
  Divider divider;
  const MatrixNoise* noise;  // null: none; else [members]
  int rank;
  int noise_shift;
  std::int64_t largest_sum, largest_projection, largest_perturbation;  // Bounds of the instruction
  Ahead next;                                                          // the start of what a later call reads
  void* scratch;  // of scratch_bytes(n, k, members · tokens, rank)
};

// Element-wise ops with up to three slots and a vector.
struct RowTask {
  std::int64_t width;  // padded
  std::int64_t members, tokens;
  RowsIn x, y{}, z{};
  RowsOut out;
  RowsIn vector{};  // the member's own vector
  // One more of its vectors, or null: of norm, added to what comes out; of gelu, to x; of add_rescale, to y.
  // Each time with clipping, as bias does.
  RowsIn bias{};
  RowsIn w{};     // of bias_mix
  RowsOut sum{};  // of bias_gate
};

// Rows whose largest elements kernels find together.
constexpr int kMeasured = 8;

// Rows rescaled by their largest magnitude.
struct RescaleTask {
  RowTask rows;
  void* scratch;  // of 2 · kMeasured · width bytes
};

// The same, pairs turned by the position of each row before.
struct RotateTask {
  RowTask rows;
  const std::uint16_t* positions;  // of (member, token) at member · position_step + token
  std::ptrdiff_t position_step;
  const SplitTurns* turns;  // by position
  void* scratch;            // of 2 · kMeasured · width bytes
};

// Queries of one member at consecutive positions, each over all positions up to its own.
struct AttendTask {
  std::int64_t width;          // heads · kHeadWidth
  std::int64_t first;          // position of the first query
  std::int64_t count;          // queries
  const std::int8_t* queries;  // rows of width, query_step apart
  std::ptrdiff_t query_step;
  const std::int8_t *keys, *values;  // [first + count][width]
  std::int8_t* out;                  // rows of width, out_step apart
  std::ptrdiff_t out_step;
  void* scratch;  // of attend_scratch_bytes(first + count or more, count or more)
};

struct NormTask {
  RowTask rows;
  std::int64_t width;  // not padded: what the mean is over
  exact::Rounding rounding;
};

// Rows of a table for the tokens of one member.
struct EmbedTask {
  std::int64_t width;  // padded
  std::int64_t count;
  const std::int8_t* table;     // [vocab][width]
  const std::uint16_t* tokens;  // [count]
  std::int8_t* out;             // [count][width]
  const MatrixNoise* noise;     // null: none
  std::int64_t a_step;          // from component to component of noise->a
  int rank;
  int noise_shift;
};

// A member's own vector: clip(weights ± (a·b >> noise_shift)).
struct VectorTask {
  std::int64_t width;  // padded
  const std::int8_t* weights;
  MatrixNoise noise;  // of a tensor of one column: b [width] too
  int noise_shift;
  std::int8_t* out;
};

// Values [first, first + count) of the noise of some pairs, the first of which `key` names; zeros follow up
// to kPad values each.
struct PairNoiseTask {
  exact::NoiseKey key;
  std::uint32_t first, count;  // first a multiple of kPad, count <= kPad
  std::int64_t pairs;
  std::int8_t* out;     // the first pair's
  std::ptrdiff_t step;  // to the next pair's
};

// A rule's constants and its memory of some weights, which lies as they do. The threshold rule, which has
// none, is built into the kernels.
struct RuleRows {
  const exact::RuleStep* step;
  std::int32_t* state[exact::kMaxRuleStates];
};

// Votes of some terms (pairs times components) on rows [0, rows) of a matrix, rows <= kPad, and what follows
// from them: V[n][k] = Σ_term fitness[term] · a[term][n] · b[term][k]; after the last terms the rule moves
// the weights.
constexpr std::int64_t kTermPad = 16;  // terms come in multiples of this, the rest with zero noise
struct VoteTask {
  std::int8_t* weights;  // [rows][cols]
  std::int64_t rows, cols;
  std::int64_t terms;
  const std::int8_t* a;        // [terms][kPad]
  const std::int8_t* fitness;  // [terms]
  bool wide;                   // some fitness · a is no int8
  const std::byte* packed_b;   // by pack_terms(), band by band of columns
  std::int32_t* sums;  // [kPad][cols padded], in the kernel's own order, from call to call; null: one call
  bool first, last;    // of the calls: sums need not be read, moves are due
  RuleRows rule;
  std::int32_t threshold;  // of the threshold rule, >= 0
  std::byte* scratch;      // of vote_scratch_bytes(terms)
};

// The same for a vector's elements [0, count), count <= kPad: V[n] = Σ_pair fitness[pair] · a[pair][n] ·
// b[pair][n].
struct VectorVoteTask {
  std::int8_t* weights;  // [count]
  std::int64_t count;
  std::int64_t pairs;          // a multiple of kTermPad, the rest with zero noise
  const std::int8_t *a, *b;    // [pairs][kPad]
  const std::int8_t* fitness;  // [pairs]
  std::int32_t* sums;          // [kPad], in the kernel's own order, from call to call
  bool first, last;
  RuleRows rule;
  std::int32_t threshold;  // of the threshold rule, >= 0
};

struct Kernels {
  const char* name;  // "scalar"
  int rows;          // of a block of matmul: multiples of it cost least for each row

  std::size_t (*packed_bytes)(std::int64_t n, std::int64_t k);
  // weights [rows][cols] into packed [n][k] (n, k padded): the band of rows [band · kPad, (band + 1) · kPad).
  void (*pack)(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, std::int64_t band,
               void* packed);
  std::size_t (*scratch_bytes)(std::int64_t n, std::int64_t k, std::int64_t rows, int rank);
  void (*matmul)(const MatmulTask& task);
  void (*norm)(const NormTask& task);
  void (*embed)(const EmbedTask& task);
  void (*make_vector)(const VectorTask& task);
  void (*copy)(const RowTask& task);  // out = x
  void (*add)(const RowTask& task);
  void (*add_bias)(const RowTask& task);
  void (*gate)(const RowTask& task);
  void (*mix)(const RowTask& task);
  void (*bias_gate)(const RowTask& task);  // sum = add_bias(x, y, vector), out = gate(sum, z)
  void (*bias_mix)(const RowTask& task);   // out = mix(x, y, add_bias(z, w, vector))
  void (*relu)(const RowTask& task);
  void (*bias)(const RowTask& task);
  void (*gelu)(const RowTask& task);
  void (*rescale)(const RowTask& task);
  void (*add_rescale)(const RescaleTask& task);
  void (*rotate)(const RotateTask& task);
  std::size_t (*attend_scratch_bytes)(std::int64_t positions, std::int64_t queries);
  void (*attend)(const AttendTask& task);
  // The loss of each row's target, added up. logits [rows][vocab padded].
  std::int64_t (*loss)(const std::int8_t* logits, std::int64_t rows, std::int64_t vocab,
                       const std::uint16_t* targets);
  // exact::fill_noise; `first` is a multiple of kPad.
  void (*fill_noise)(const exact::NoiseKey& key, std::uint32_t first, std::uint32_t count, std::int8_t* out);
  void (*fill_pairs)(const PairNoiseTask& task);
  // b [terms][kPad] (terms padded) as a band of weights of a product over terms: of packed_bytes(kPad,
  // terms).
  void (*pack_terms)(const std::int8_t* b, std::int64_t terms, void* packed);
  std::size_t (*vote_scratch_bytes)(std::int64_t terms);
  std::int64_t (*vote)(const VoteTask& task);  // returns how many weights changed
  std::int64_t (*vote_vector)(const VectorVoteTask& task);
  // Σ exact::digest_term over words first_word ... of tensor; weights [count], the first at the start of a
  // word.
  std::uint64_t (*digest)(std::uint32_t tensor, std::uint32_t first_word, const std::int8_t* weights,
                          std::int64_t count);
  // Multiplies registers with each other, `steps` times what an inner loop does; returns how many
  // multiply-adds. Null where products are left to the compiler.
  std::int64_t (*multiply_registers)(std::int64_t steps);
};

// What a table of functions of these names is filled from, in the order above: X(entry)...
#define CLUTCH_KERNELS(X)                                                                                    \
  X(packed_bytes)                                                                                            \
  X(pack)                                                                                                    \
  X(scratch_bytes)                                                                                           \
  X(matmul)                                                                                                  \
  X(norm) X(embed) X(make_vector) X(copy) X(add) X(add_bias) X(gate) X(mix) X(bias_gate) X(bias_mix) X(relu) \
      X(bias) X(gelu) X(rescale) X(add_rescale) X(rotate) X(attend_scratch_bytes) X(attend) X(loss)          \
          X(fill_noise) X(fill_pairs) X(pack_terms) X(vote_scratch_bytes) X(vote) X(vote_vector) X(digest)
#define CLUTCH_KERNEL_ENTRY(entry) .entry = entry,

const Kernels& scalar_kernels();
const Kernels& avx2_kernels();
const Kernels& avxvnni_kernels();
const Kernels& avx512bw_kernels();
const Kernels& avx512vnni_kernels();
const Kernels& amxint8_kernels();
const Kernels& neon_kernels();
const Kernels& neondot_kernels();
const Kernels& neoni8mm_kernels();

}  // namespace clutch::cpu
