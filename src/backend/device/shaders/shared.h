// What the host and the shaders must agree on: sizes, numbers, tables' places and what a dispatch is told.
// Written in what C++ and GLSL have in common; engine.cc includes it in a namespace where uint is 32 bits
// wide. Places and sizes are in words of 32 bits: four elements of a row, the first in the low byte.

const uint kTile = 8;                   // members of a workgroup of `evaluate`
const uint kMostLanes = 128;            // invocations of a workgroup: each device has its own number, see lanes.glsl
const uint kMostShare = 16;             // of them, those that work for one member: kMostLanes / kTile
const uint kSharedSlotWords = 5120;     // slots of a tile that fit the workgroup's shared memory: 20 KiB
const uint kSharedBytes = 26u << 10;    // that the kernel with slots there takes at most; any other, 6 KiB
const uint kMostComponents = 64;        // of a perturbation
const uint kHeadWords = 16;             // of attention: 64 elements
const uint kNowhere = 0xFFFFFFFFu;

// Ops, as program/ops.h numbers them.
const uint kOpEmbed = 0, kOpMatmul = 1, kOpNorm = 2, kOpAdd = 3, kOpAddBias = 4, kOpGate = 5, kOpMix = 6;
const uint kOpRelu = 7, kOpBias = 8, kOpGelu = 9, kOpRescale = 10, kOpAddRescale = 11, kOpRotate = 12;
const uint kOpAttend = 13, kOps = 14;

// Rules, as exact/rules.h numbers them.
const uint kRuleThreshold = 0, kRuleMomentum = 1, kRuleCarry = 2, kRuleAdamw = 3, kRules = 4;

// Tables of exact/, one after the other in a buffer of words.
const uint kExp2At = 0;         // [256] exp2_negative()
const uint kLog2At = 256;       // [257] kLog2Table
const uint kSoftmaxAt = 513;    // [256] softmax_weight()
const uint kGeluAt = 769;       // [255] gelu() of -127 .. 127
const uint kTurnsAt = 1024;     // [1024][32] turns_of(): cosine, sine
const uint kTableWords = 66560;

// What a dispatch of `evaluate` hands over besides losses.
const uint kTakeNothing = 0, kTakeLogits = 1, kTakeTrace = 2;

struct DeviceInstruction {
  uint op;
  uint dst, width;     // words of a member's slots; elements
  uint x, y, z;        // words of a member's slots
  uint in_width;       // elements of x
  uint tensor;
  uint divisor;
  uint truncates;
  uint keys, values;   // words of a member's states
  uint trace;          // words of a token's trace
};

struct DeviceTensor {
  uint rows, cols, is_vector;
  uint weights, stride;       // words
  uint components;
  uint noise_a, stride_a;     // words of a pair's noise
  uint noise_b, stride_b;
};

struct DeviceState {
  uint at, words;       // of a member's states
  uint read, write;     // words of a member's slots
};

struct EvaluatePush {
  uint instructions, states;                        // counts
  uint begin, end;                                  // the instructions of this dispatch; all, where it has more than a token
  uint slot_words, state_words, noise_words;        // of a member, of a member, of a pair
  uint scratch_words;                               // of a member
  uint window, count_at;                            // of positions; where their count lies in a member's states
  uint output_at, vocab;
  uint noisy, sigma_shift;
  uint first_member, members;                       // of the request: those of this dispatch
  uint stream_tokens, text_at;                      // of a stream, less one; where text begins in the request
  uint first_token, tokens;
  uint fresh;                                       // 1: states begin as zeros, whatever lies there
  uint take, taken_words, traced;                   // what, words per token, of which member
  uint taken_tokens, taken_token;                   // of a member's rows: all, and where first_token's goes
};

struct NoisePush {
  uint seed_low, seed_high, epoch, first_pair, pairs;
  uint noise_words;                                 // of a pair
};

struct VotePush {
  uint tensor, pairs, noise_words;
  uint first_pair, noise_pair;                      // of the population; of those whose noise is in the buffer
  uint begins, ends;                                // 1 where these are the first, the last pairs
  uint rule, rule_states;
  int threshold;
  int limit, shift, multiplier, bits;               // VoteScale
  int forget, forget_square, rate, decay;
};

struct DigestPush {
  uint tensor;
};

// Sums of an update: elements moved, then the digest in eight limbs of eight bits. A workgroup adds at most
// 255 to a limb, and there are fewer than 2^24 of them.
const uint kMovedAt = 0, kLimbsAt = 1, kLimbs = 8, kSumWords = 9;
