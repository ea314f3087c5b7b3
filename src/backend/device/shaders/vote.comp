// The votes of a batch of pairs on one tensor, and after the last batch the rule: an invocation takes four rows of one
// word of columns at a time (of a vector, one word). Sums fit 32 bits: verify_population() has proved it.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#include "shared.h"
#include "lanes.glsl"
#include "exact.glsl"

layout(push_constant) uniform Push { VotePush push; };
layout(std430, binding = 1) readonly buffer Tensors { DeviceTensor tensors[]; };
layout(std430, binding = 2) readonly buffer Noise { uint noise[]; };
layout(std430, binding = 3) readonly buffer Fitness { uint fitness[]; };     // four pairs a word
layout(std430, binding = 4) buffer Weights { uint weights[]; };
layout(std430, binding = 5) buffer Votes { ivec4 votes[]; };                 // by words of weights
layout(std430, binding = 6) buffer State0 { ivec4 state0[]; };               // likewise
layout(std430, binding = 7) buffer State1 { ivec4 state1[]; };
layout(std430, binding = 8) buffer State2 { ivec4 state2[]; };
layout(std430, binding = 9) buffer Sums { uint sums[]; };

#include "rules.glsl"

shared uint moved;

int fitness_of(uint pair) { return bitfieldExtract(int(fitness[pair >> 2]), int(8u * (pair & 3u)), 8); }

// Folds `vote` into the word of weights at `at`, of which `count` elements are the tensor's own; those that moved.
uint take(uint at, ivec4 vote, uint count) {
  if (push.begins == 0u) vote += votes[at];
  if (push.ends == 0u) {
    votes[at] = vote;
    return 0u;
  }
  ivec4 old = unpack(weights[at]), next = old;
  ivec4 m0 = ivec4(0), m1 = ivec4(0), m2 = ivec4(0);
  if (push.rule_states > 0u) m0 = state0[at];
  if (push.rule_states > 1u) m1 = state1[at];
  if (push.rule_states > 2u) m2 = state2[at];
  uint changed = 0u;
  for (uint i = 0u; i < count; ++i) {
    ivec3 state = ivec3(m0[i], m1[i], m2[i]);
    next[i] = apply_rule(vote[i], state, old[i]);
    m0[i] = state.x;
    m1[i] = state.y;
    m2[i] = state.z;
    changed += uint(next[i] != old[i]);
  }
  weights[at] = pack(next);
  if (push.rule_states > 0u) state0[at] = m0;
  if (push.rule_states > 1u) state1[at] = m1;
  if (push.rule_states > 2u) state2[at] = m2;
  return changed;
}

uint vote_vector(DeviceTensor t) {
  uint changed = 0u;
  uint words = (t.rows + 3u) / 4u;
  for (uint w = gl_GlobalInvocationID.x; w < words; w += gl_NumWorkGroups.x * kLanes) {
    ivec4 vote = ivec4(0);
    for (uint p = 0u; p < push.pairs; ++p) {
      uint base = (push.noise_pair + p) * push.noise_words + w;
      vote += fitness_of(push.first_pair + p) * unpack(noise[base + t.noise_a]) * unpack(noise[base + t.noise_b]);
    }
    changed += take(t.weights + w, vote, min(4u, t.rows - 4u * w));
  }
  return changed;
}

uint vote_matrix(DeviceTensor t) {
  uint changed = 0u;
  uint words = (t.cols + 3u) / 4u, quads = (t.rows + 3u) / 4u;
  for (uint item = gl_GlobalInvocationID.x; item < words * quads; item += gl_NumWorkGroups.x * kLanes) {
    uint w = item % words, quad = item / words;
    ivec4 vote0 = ivec4(0), vote1 = ivec4(0), vote2 = ivec4(0), vote3 = ivec4(0);
    for (uint p = 0u; p < push.pairs; ++p) {
      uint base = (push.noise_pair + p) * push.noise_words;
      int f = fitness_of(push.first_pair + p);
      for (uint j = 0u; j < t.components; ++j) {
        ivec4 a = f * unpack(noise[base + t.noise_a + j * t.stride_a + quad]);
        ivec4 b = unpack(noise[base + t.noise_b + j * t.stride_b + w]);
        vote0 += a.x * b;
        vote1 += a.y * b;
        vote2 += a.z * b;
        vote3 += a.w * b;
      }
    }
    uint count = min(4u, t.cols - 4u * w), row = 4u * quad, at = t.weights + row * t.stride + w;
    changed += take(at, vote0, count);
    if (row + 1u < t.rows) changed += take(at + t.stride, vote1, count);
    if (row + 2u < t.rows) changed += take(at + 2u * t.stride, vote2, count);
    if (row + 3u < t.rows) changed += take(at + 3u * t.stride, vote3, count);
  }
  return changed;
}

void main() {
  if (gl_LocalInvocationIndex == 0u) moved = 0u;
  barrier();
  DeviceTensor t = tensors[push.tensor];
  uint changed = 0u;
  if (t.is_vector != 0u) {
    changed = vote_vector(t);
  } else {
    changed = vote_matrix(t);
  }
  if (changed > 0u) atomicAdd(moved, changed);  // here alone: spirv-cross passes it to no function
  barrier();
  if (gl_LocalInvocationIndex == 0u && moved > 0u) atomicAdd(sums[kMovedAt], moved);
}
