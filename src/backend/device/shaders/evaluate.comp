// The interpreter of programs: a workgroup runs kTile members over a stretch of tokens, instruction by instruction, or
// over a part of one token's instructions.
// Control flow depends on the program and the push constants alone, so that all of a workgroup meet at every barrier.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#include "shared.h"
#include "lanes.glsl"

layout(push_constant) uniform Push { EvaluatePush push; };
layout(std430, binding = 1) readonly buffer Instructions { DeviceInstruction instructions[]; };
layout(std430, binding = 2) readonly buffer Tensors { DeviceTensor tensors[]; };
layout(std430, binding = 3) readonly buffer StateList { DeviceState state_list[]; };
layout(std430, binding = 4) readonly buffer Tables { uint tables[]; };
layout(std430, binding = 5) readonly buffer Weights { uint weights[]; };
layout(std430, binding = 6) readonly buffer WeightQuads { uvec4 weight_quads[]; };  // the same bytes
layout(std430, binding = 7) readonly buffer Noise { uint noise[]; };                // of the dispatch's pairs
layout(std430, binding = 8) coherent buffer Slots { uvec4 slots[]; };               // [member][slot_words]
layout(std430, binding = 9) coherent buffer Scratch { uint scratch[]; };            // [member][scratch_words]
layout(std430, binding = 10) coherent buffer States { uint states[]; };             // [member][state_words]
layout(std430, binding = 11) readonly buffer Request { uint request[]; };           // stream_of [members], then text
layout(std430, binding = 12) buffer Losses { int64_t losses[]; };                   // of the request's members
layout(std430, binding = 13) writeonly buffer Taken { uint taken[]; };              // [member][token][taken_words]

#include "exact.glsl"
#include "dot.glsl"
#include "member.glsl"
#include "rows.glsl"
#include "products.glsl"
#include "attention.glsl"
#include "loss.glsl"

// Of a member's stream; members that fill up a tile repeat the last one's.
uint token_at(uint t) {
  uint member = push.first_member + min(member_of(mine()), push.members - 1u);
  uint i = request[member] * (push.stream_tokens + 1u) + t;
  return request[push.text_at + i / 2u] >> 16u * (i & 1u) & 0xFFFFu;
}

// A count of positions outside 0 .. window stands for 0.
uint read_count() {
  if (push.window == 0u || push.fresh != 0u) return 0u;
  ivec4 stored = unpack(states[state_at(push.count_at)]);
  int count = stored.x + 128 * stored.y;
  return count < 0 || uint(count) > push.window ? 0u : uint(count);
}
void write_count(uint count) {
  if (push.window > 0u && part() == 0u) states[state_at(push.count_at)] = (count & 127u) | count >> 7 << 8;
}

void read_states(bool zero) {
  for (uint s = 0u; s < push.states; ++s) {
    DeviceState state = state_list[s];
    for (uint w = part(); w < state.words; w += kShare) {
      set_slot(state.read + w, zero ? 0u : states[state_at(state.at) + w]);
    }
  }
}
void write_states() {
  for (uint s = 0u; s < push.states; ++s) {
    DeviceState state = state_list[s];
    for (uint w = part(); w < state.words; w += kShare) {
      states[state_at(state.at) + w] = slot_word(mine(), state.write + w);
    }
  }
}

void execute(DeviceInstruction i, uint token, uint position) {
  if (i.op == kOpMatmul) {
    matmul(i);
  } else if (i.op == kOpEmbed) {
    embed(i, token);
  } else if (i.op == kOpNorm) {
    norm(i);
  } else if (i.op == kOpRescale || i.op == kOpAddRescale || i.op == kOpRotate) {
    rescale_row(i, position);
  } else if (i.op == kOpAttend) {
    attend(i, position);
  } else {
    rowwise(i);
  }
  sync();
}

// A row of this member's slots to the host.
void take(uint at, uint width, uint token, uint to) {
  uint base = (member_of(mine()) * push.taken_tokens + push.taken_token + token) * push.taken_words + to;
  for (uint w = part(); w < words(width); w += kShare) taken[base + w] = slot_word(mine(), at + w);
}
void take_trace(DeviceInstruction i, uint token) {
  uint base = (push.taken_token + token) * push.taken_words + i.trace;
  if (member_of(mine()) != push.traced) return;
  for (uint w = part(); w < words(i.width); w += kShare) taken[base + w] = slot_word(mine(), i.dst + w);
}

void main() {
  bool real = member_of(mine()) < push.members;
  uint count = read_count();
  int64_t loss = 0l;
  sync();
  for (uint t = 0u; t < push.tokens; ++t) {
    uint token = token_at(push.first_token + t);
    uint position = token == 0u || count == push.window ? 0u : count;
    count = position + 1u;
    if (push.begin == 0u) read_states(token == 0u || (t == 0u && push.fresh != 0u));
    sync();
    for (uint n = push.begin; n < push.end; ++n) {
      DeviceInstruction i = instructions[n];
      execute(i, token, position);
      if (push.take == kTakeTrace) {
        take_trace(i, t);
        sync();  // a slot that nobody reads may share its place with the next instruction's
      }
    }
    if (push.end < push.instructions) return;
    write_states();
    loss += int64_t(cross_entropy(token_at(push.first_token + t + 1u)));
    if (push.take == kTakeLogits && real) take(push.output_at, push.vocab, t, 0u);
    sync();
  }
  write_count(count);
  if (part() == 0u && real) losses[push.first_member + member_of(mine())] += loss;
}
