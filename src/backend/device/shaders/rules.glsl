// exact/rules.h for shaders, under the same names; its comments say why 32 bits are enough. Push constants are a
// VotePush.

int round_shift(int x, int bits) { return (x + (1 << bits >> 1)) >> bits; }
int within(int x, int limit) { return clamp(x, -limit, limit); }

int scale_vote(int vote) {
  return round_shift(round_shift(within(vote, push.limit), push.shift) * push.multiplier, push.bits);
}

int run_mean(int mean, int extra, int v, int forget) {
  return mean + round_shift((v - round_shift(mean, extra)) * forget, 14 - extra);
}

// floor(sqrt(x)), 0 <= x < 2^31.
int root32(int x) {
  uint root = 0;
  for (uint bit = 1u << 15; bit != 0u; bit >>= 1) {
    uint next = root | bit;
    root = next * next <= uint(x) ? next : root;
  }
  return int(root);
}

int normalise(int mean, int square) {
  int root = root32(max(square, 0) << 6);
  return within(divide_truncate(mean * 4096, uint(root + 1)), 8 << 12);
}

int take_steps(int direction, inout int fraction, int weight) {
  int sum = fraction + direction * push.rate - weight * push.decay;
  int steps = round_shift(sum, 24);
  fraction = sum - steps * (1 << 24);
  return within(weight + steps, kClip);
}

int apply_rule(int vote, inout ivec3 state, int weight) {
  if (push.rule == kRuleThreshold) {
    return within(weight + int(vote > push.threshold) - int(vote < -push.threshold), kClip);
  }
  int v = scale_vote(vote);
  if (push.rule == kRuleCarry) return take_steps(v, state.x, weight);
  state.x = run_mean(state.x, 4, v, push.forget);
  int mean = round_shift(state.x, 4);
  if (push.rule == kRuleMomentum) return take_steps(mean, state.y, weight);
  state.y = run_mean(state.y, 8, round_shift(v * v, 14), push.forget_square);
  return take_steps(normalise(mean, state.y), state.z, weight);
}
