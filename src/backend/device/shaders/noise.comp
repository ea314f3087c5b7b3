// The noise of a batch of pairs, as device/layout.h lays it out: a workgroup makes one stream after another (a tensor's
// A or B) for kPairsPerGroup pairs. What a row is filled up with is zero.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#include "shared.h"
#include "lanes.glsl"
#include "exact.glsl"

layout(push_constant) uniform Push { NoisePush push; };
layout(std430, binding = 1) readonly buffer Tensors { DeviceTensor tensors[]; };
layout(std430, binding = 2) writeonly buffer Noise { uint noise[]; };

// Values 4w .. 4w+3 of a block, w 0 or 1; those from `count` on are zero.
uint word_of(uvec4 block, uint w, uint first, uint count) {
  uint low = w == 0u ? block.x : block.z, high = w == 0u ? block.y : block.w;
  ivec4 v = ivec4(noise_from_bits(low & 0xFFFFu), noise_from_bits(low >> 16), noise_from_bits(high & 0xFFFFu),
                  noise_from_bits(high >> 16));
  for (uint i = 0u; i < 4u; ++i) v[i] = first + 4u * w + i < count ? v[i] : 0;
  return pack(v);
}

void main() {
  uint first_pair = gl_WorkGroupID.y * kPairsPerGroup;
  uint pairs = min(kPairsPerGroup, push.pairs - first_pair);
  for (uint index = gl_WorkGroupID.x; index < push.tensors; index += gl_NumWorkGroups.x) {
    DeviceTensor t = tensors[index];
    uint inputs = t.is_vector != 0u ? t.rows : t.cols;
    for (uint role = 0u; role < 2u; ++role) {
      uint count = role == 0u ? t.rows : inputs, stride = role == 0u ? t.stride_a : t.stride_b;
      uint at = role == 0u ? t.noise_a : t.noise_b;
      uint blocks = stride / 2u, each = blocks * t.components;
      for (uint item = gl_LocalInvocationIndex; item < each * pairs; item += kLanes) {
        uint pair = first_pair + item / each, rest = item % each;
        uint component = rest / blocks, block = rest % blocks;
        uvec4 bits = philox(uvec4(block, push.first_pair + pair, push.epoch, role | component << 8 | index << 16),
                            uvec2(push.seed_low, push.seed_high));
        uint to = pair * push.noise_words + at + component * stride + 2u * block;
        noise[to] = word_of(bits, 0u, 8u * block, count);
        noise[to + 1u] = word_of(bits, 1u, 8u * block, count);
      }
    }
  }
}
