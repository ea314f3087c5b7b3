// exact/loss.h for shaders, under the same names, and a token's cross-entropy by the invocations of a member.

uint log2_q24(uint64_t x) {
  uint high = uint(x >> 32), low = uint(x);
  int whole = high != 0u ? 32 + findMSB(high) : findMSB(low);
  uint64_t mantissa = x << (63 - whole);
  uint index = uint(mantissa >> 55) & 255u, rest = uint(mantissa >> 23);
  uint base = tables[kLog2At + index];
  uint rise = uint(uint64_t(tables[kLog2At + index + 1u] - base) * uint64_t(rest) >> 32);
  return (uint(whole) << 24) + base + rise;
}

// Below 2^25, and so are its parts: log2(S) is at most 44.
int loss_from_sum(uint64_t sum, int max_minus_target) {
  int log2_sum = int((log2_q24(sum) + 8u) >> 4);
  return log2_sum - (28 << 20) + (max_minus_target << 16);
}

// Of the member's logits in its slots. All of a workgroup call it; a member's first invocation gets the loss.
int cross_entropy(uint target) {
  uint row = words(push.vocab);
  int largest = -kClip;
  for (uint w = part(); w < row; w += kShare) {
    ivec4 v = slot(push.output_at + w);
    for (uint e = 0u; e < 4u; ++e) largest = 4u * w + e < push.vocab ? max(largest, v[e]) : largest;
  }
  largest = largest_of_share(largest);
  uint64_t sum = 0ul;
  for (uint w = part(); w < row; w += kShare) {
    ivec4 v = slot(push.output_at + w);
    for (uint e = 0u; e < 4u; ++e) {
      uint term = tables[kExp2At + uint(largest - v[e]) % 256u];
      sum += uint64_t(4u * w + e < push.vocab ? term : 0u);
    }
  }
  sums[gl_LocalInvocationIndex] = sum;
  sync();
  if (part() != 0u) return 0;
  for (uint i = 1u; i < kShare; ++i) sum += sums[gl_LocalInvocationIndex + i];
  return loss_from_sum(sum, largest - slot(push.output_at + target / 4u)[target % 4u]);
}
