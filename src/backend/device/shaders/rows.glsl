// Ops that go row by row: everything but products and attention. Names and formulas are those of program/ops.h.

ivec4 shift_mix(ivec4 x, ivec4 y) { return ((x + 127) * y) >> 8; }

void embed(DeviceInstruction i, uint token) {
  DeviceTensor t = tensors[i.tensor];
  for (uint w = part(); w < words(i.width); w += kShare) {
    ivec4 v = unpack(weights[t.weights + token * t.stride + w]);
    if (push.noisy != 0u) {
      ivec4 product = ivec4(0);
      for (uint j = 0u; j < t.components; ++j) {
        uint base = noise_of(mine());
        int a = unpack(noise[base + t.noise_a + j * t.stride_a + token / 4u])[token % 4u];
        product += a * unpack(noise[base + t.noise_b + j * t.stride_b + w]);
      }
      v += sign_of(mine()) * (product >> shift_bits());
    }
    set_slot(i.dst + w, pack(clip_four(v)));
  }
}

// Ops of which an element needs nothing but the elements at its place.
ivec4 elementwise(DeviceInstruction i, uint w) {
  ivec4 x = slot(i.x + w);
  if (i.op == kOpRelu) return max(x, ivec4(0));
  if (i.op == kOpBias) return x + vector_word(i.tensor, w);
  if (i.op == kOpGelu) {
    for (uint e = 0u; e < 4u; ++e) x[e] = int(tables[kGeluAt + uint(clamp(x[e], -kClip, kClip) + 127)]);
    return x;
  }
  ivec4 y = slot(i.y + w);
  if (i.op == kOpAdd) return x + y;
  if (i.op == kOpAddBias) return x + y + vector_word(i.tensor, w);
  if (i.op == kOpGate) return shift_mix(x, y);
  return y + shift_mix(x, slot(i.z + w) - y);  // mix
}

void rowwise(DeviceInstruction i) {
  for (uint w = part(); w < words(i.width); w += kShare) set_slot(i.dst + w, pack(clip_four(elementwise(i, w))));
}

void norm(DeviceInstruction i) {
  int magnitude = 0;
  for (uint w = part(); w < words(i.width); w += kShare) {
    ivec4 x = abs(only(slot(i.x + w), w, i.width));
    magnitude += x.x + x.y + x.z + x.w;
  }
  uint mean = max(1u, uint(sum_of_share(magnitude)) / i.width);
  for (uint w = part(); w < words(i.width); w += kShare) {
    ivec4 v = slot(i.x + w) * vector_word(i.tensor, w);
    for (uint e = 0u; e < 4u; ++e) v[e] = divide(v[e], mean, i.truncates != 0u);
    set_slot(i.dst + w, pack(clip_four(v)));
  }
}

// (value + 2^19) >> 20 of a word's two pairs, turned by the angles of a position.
ivec4 turned(ivec4 x, uint w, uint position) {
  uint at = kTurnsAt + 2u * (32u * position + 2u * (w % kHeadWords));
  for (uint p = 0u; p < 2u; ++p) {
    int cosine = int(tables[at + 2u * p]), sine = int(tables[at + 2u * p + 1u]);
    int even = x[2u * p], odd = x[2u * p + 1u];
    x[2u * p] = (even * cosine - odd * sine + (1 << 19)) >> 20;
    x[2u * p + 1u] = (even * sine + odd * cosine + (1 << 19)) >> 20;
  }
  return x;
}

// What rescale, add_rescale and rotate scale up.
ivec4 wide_row(DeviceInstruction i, uint w, uint position) {
  ivec4 x = slot(i.x + w);
  if (i.op == kOpAddRescale) x += slot(i.y + w);
  if (i.op == kOpRotate) x = turned(x, w, position);
  return only(x, w, i.width);
}

void rescale_row(DeviceInstruction i, uint position) {
  int largest = 0;
  for (uint w = part(); w < words(i.width); w += kShare) {
    ivec4 x = abs(wide_row(i, w, position));
    largest = max(largest, max(max(x.x, x.y), max(x.z, x.w)));
  }
  largest = largest_of_share(largest);
  for (uint w = part(); w < words(i.width); w += kShare) {
    ivec4 x = wide_row(i, w, position);
    for (uint e = 0u; e < 4u; ++e) x[e] = rescale(x[e], largest);
    set_slot(i.dst + w, pack(x));
  }
}
