// One tensor's share of exact/digest.h: a term per eight elements in row-major order, summed modulo 2^64. A workgroup
// adds its sum in limbs of eight bits, for which counters of 32 bits are enough.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#include "shared.h"
#include "lanes.glsl"

layout(push_constant) uniform Push { DigestPush push; };
layout(std430, binding = 1) readonly buffer Tensors { DeviceTensor tensors[]; };
layout(std430, binding = 2) readonly buffer Weights { uint weights[]; };
layout(std430, binding = 3) buffer Sums { uint sums[]; };

shared uint64_t terms[kMostLanes];

uint64_t mix64(uint64_t z) {
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ul;
  z = (z ^ z >> 27) * 0x94D049BB133111EBul;
  return z ^ z >> 31;
}

uint64_t word_of(DeviceTensor t, uint index, uint row_width, uint count) {
  uint64_t word = 0ul;
  for (uint i = 0u; i < 8u && 8u * index + i < count; ++i) {
    uint element = 8u * index + i, row = element / row_width, column = element % row_width;
    uint packed = weights[t.weights + row * t.stride + column / 4u];
    word |= uint64_t(packed >> 8u * (column % 4u) & 255u) << 8u * i;
  }
  return word;
}

void main() {
  DeviceTensor t = tensors[push.tensor];
  uint count = t.rows * t.cols, row_width = t.is_vector != 0u ? t.rows : t.cols;
  uint64_t sum = 0ul;
  for (uint i = gl_GlobalInvocationID.x; 8u * i < count; i += gl_NumWorkGroups.x * kLanes) {
    uint64_t place = uint64_t(push.tensor) << 32 | uint64_t(i);
    sum += mix64(mix64(place + 0x9E3779B97F4A7C15ul) ^ word_of(t, i, row_width, count));
  }
  uint lane = gl_LocalInvocationIndex;
  terms[lane] = sum;
  barrier();
  if (lane != 0u) return;
  for (uint i = 1u; i < kLanes; ++i) sum += terms[i];
  for (uint limb = 0u; limb < kLimbs; ++limb) atomicAdd(sums[kLimbsAt + limb], uint(sum >> 8u * limb) & 255u);
}
