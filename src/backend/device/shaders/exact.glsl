// exact/arithmetic.h and exact/noise.h for shaders, under the same names. Signed division is written with unsigned
// operands, since GLSL leaves negative ones to the device.

const int kClip = 127;

int clip_value(int x) { return clamp(x, -kClip, kClip); }

// The four elements of a word, and back.
ivec4 unpack(uint word) {
  int w = int(word);
  return ivec4(bitfieldExtract(w, 0, 8), bitfieldExtract(w, 8, 8), bitfieldExtract(w, 16, 8), bitfieldExtract(w, 24, 8));
}
uint pack(ivec4 v) {
  return (uint(v.x) & 255u) | (uint(v.y) & 255u) << 8 | (uint(v.z) & 255u) << 16 | uint(v.w) << 24;
}
ivec4 clip_four(ivec4 v) { return clamp(v, ivec4(-kClip), ivec4(kClip)); }

// floor(x / divisor) = -ceil(-x / divisor) where x < 0; |x| + divisor < 2^32.
int divide_floor(int x, uint divisor) {
  return x >= 0 ? int(uint(x) / divisor) : -int((uint(-x) + divisor - 1u) / divisor);
}
int divide_truncate(int x, uint divisor) {
  return x >= 0 ? int(uint(x) / divisor) : -int(uint(-x) / divisor);
}
int divide(int x, uint divisor, bool truncates) {
  return truncates ? divide_truncate(x, divisor) : divide_floor(x, divisor);
}
int64_t divide_floor_wide(int64_t x, uint divisor) {
  return x >= 0 ? int64_t(uint64_t(x) / divisor) : -int64_t((uint64_t(-x) + divisor - 1u) / divisor);
}

// 127·x / largest, halves up. |x| <= largest <= 254.
int rescale(int x, int largest) {
  return largest == 0 ? 0 : divide_floor(254 * x + largest, uint(2 * largest));
}

uvec4 philox(uvec4 counter, uvec2 key) {
  for (int turn = 0; turn < 10; ++turn) {
    uint high0, low0, high1, low1;
    umulExtended(0xD2511F53u, counter.x, high0, low0);
    umulExtended(0xCD9E8D57u, counter.z, high1, low1);
    counter = uvec4(high1 ^ counter.y ^ key.x, low1, high0 ^ counter.w ^ key.y, low0);
    key += uvec2(0x9E3779B9u, 0xBB67AE85u);
  }
  return counter;
}

int noise_from_bits(uint u) {
  return int((u & 31u) + (u >> 5 & 31u) + (u >> 10 & 31u) + (u >> 15 & 1u)) - 47;
}
