// matmul: first each member's projections x·B, then outputs. An invocation computes four rows for the two members of a
// pair at a time, so that weights and noise are loaded once for both.

// projections[member][component]; a member's invocations share out components, or slices of their rows.
void project(DeviceInstruction i, DeviceTensor t) {
  uint slices = max(1u, kShare / t.components), row = mine() * kMostComponents;
  for (uint item = part(); item < slices * t.components; item += kShare) {
    uint base = noise_of(mine()) + t.noise_b + item % t.components * t.stride_b;
    int sum = 0;
    for (uint w = item / t.components; w < t.stride_b; w += slices) {
      sum += dot4(slot_word(mine(), i.x + w), noise[base + w]);
    }
    partials[row + item] = sum;
  }
  sync();
  for (uint j = part(); j < t.components; j += kShare) {
    int sum = 0;
    for (uint s = 0u; s < slices; ++s) sum += partials[row + s * t.components + j];
    projections[row + j] = sum;
  }
  sync();
}

// (x·B)·Aᵀ >> shift of four rows. The sum needs up to 62 bits, what is left of it 31: verify() has proved it.
ivec4 perturbation(DeviceTensor t, uint member, uint quad) {
  uint base = noise_of(member) + t.noise_a + quad;
  int64_t s0 = 0l, s1 = 0l, s2 = 0l, s3 = 0l;
  for (uint j = 0u; j < t.components; ++j) {
    ivec4 a = unpack(noise[base + j * t.stride_a]);
    int64_t p = int64_t(projections[member * kMostComponents + j]);
    s0 += p * a.x;
    s1 += p * a.y;
    s2 += p * a.z;
    s3 += p * a.w;
  }
  int bits = int(shift_bits());
  return sign_of(member) * ivec4(int(s0 >> bits), int(s1 >> bits), int(s2 >> bits), int(s3 >> bits));
}

uint quotient(ivec4 sums, uint divisor) {
  for (uint e = 0u; e < 4u; ++e) sums[e] = divide_floor(sums[e], divisor);
  return pack(clip_four(sums));
}

void matmul(DeviceInstruction i) {
  DeviceTensor t = tensors[i.tensor];
  if (push.noisy != 0u) project(i, t);
  uint quads = words(t.rows), stride = t.stride / 4u, last = t.rows - 1u;
  for (uint item = gl_LocalInvocationIndex; item < quads * (kTile / 2u); item += kLanes) {
    uint quad = item % quads, plus = item / quads * 2u, minus = plus + 1u;
    uint x = (plus * push.slot_words + i.x) / 4u, z = (minus * push.slot_words + i.x) / 4u;
    // Beyond the last row the last one is read again.
    uint row0 = t.weights / 4u + 4u * quad * stride, row1 = t.weights / 4u + min(4u * quad + 1u, last) * stride;
    uint row2 = t.weights / 4u + min(4u * quad + 2u, last) * stride;
    uint row3 = t.weights / 4u + min(4u * quad + 3u, last) * stride;
    ivec4 a = ivec4(0), b = ivec4(0);
    for (uint w = 0u; w < stride; ++w) {
      uvec4 xs = SLOT_QUAD(x + w), zs = SLOT_QUAD(z + w);
      uvec4 w0 = weight_quads[row0 + w], w1 = weight_quads[row1 + w];
      uvec4 w2 = weight_quads[row2 + w], w3 = weight_quads[row3 + w];
      a += ivec4(dot16(xs, w0), dot16(xs, w1), dot16(xs, w2), dot16(xs, w3));
      b += ivec4(dot16(zs, w0), dot16(zs, w1), dot16(zs, w2), dot16(zs, w3));
    }
    if (push.noisy != 0u) {
      a += perturbation(t, plus, quad);
      b += perturbation(t, minus, quad);
    }
    uint to = plus * push.slot_words + i.dst + quad;
    SLOT_QUAD(to >> 2)[to & 3u] = quotient(a, i.divisor);
    to += push.slot_words;
    SLOT_QUAD(to >> 2)[to & 3u] = quotient(b, i.divisor);
  }
}
