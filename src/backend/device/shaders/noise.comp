// The noise of a batch of pairs, as device/layout.h lays it out: workgroup (x, y) makes blocks of tensor y for any of the
// pairs. What a row is filled up with is zero.
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

// One block of eight values: of component `rest / blocks` of role A or B.
void make_block(DeviceTensor t, uint pair, uint rest) {
  uint blocks_a = t.stride_a / 2u * t.components, role = rest < blocks_a ? 0u : 1u;
  if (role == 1u) rest -= blocks_a;
  uint count = role == 0u || t.is_vector != 0u ? t.rows : t.cols, stride = role == 0u ? t.stride_a : t.stride_b;
  uint component = rest / (stride / 2u), block = rest % (stride / 2u);
  uvec4 bits =
      philox(uvec4(block, push.first_pair + pair, push.epoch, role | component << 8 | gl_WorkGroupID.y << 16),
             uvec2(push.seed_low, push.seed_high));
  uint to = pair * push.noise_words + (role == 0u ? t.noise_a : t.noise_b) + component * stride + 2u * block;
  noise[to] = word_of(bits, 0u, 8u * block, count);
  noise[to + 1u] = word_of(bits, 1u, 8u * block, count);
}

void main() {
  DeviceTensor t = tensors[gl_WorkGroupID.y];
  uint blocks = (t.stride_a + t.stride_b) / 2u * t.components;
  for (uint i = gl_GlobalInvocationID.x; i < blocks * push.pairs; i += gl_NumWorkGroups.x * kLanes) {
    make_block(t, i / blocks, i % blocks);
  }
}
