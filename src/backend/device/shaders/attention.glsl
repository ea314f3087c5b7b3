// attend: a member's caches lie in its states; scores, then weights, in its scratch: per head [window] words, and
// kMostShare more for the largest score that each invocation saw.

uint head_scratch(uint head) { return scratch_at(head * (push.window + kMostShare)); }

// s[p] of every head, p = 0 .. position.
void score(DeviceInstruction i, uint heads, uint position) {
  for (uint head = 0u; head < heads; ++head) {
    uint at = head_scratch(head), row = words(i.width);
    uint query = i.x + head * kHeadWords, keys = state_at(i.keys) + head * kHeadWords;
    int largest = -0x7FFFFFFF;
    for (uint p = part(); p <= position; p += kShare) {
      int sum = 0;
      for (uint w = 0u; w < kHeadWords; ++w) sum += dot4(slot_word(mine(), query + w), states[keys + p * row + w]);
      scratch[at + p] = uint(sum >> 8);
      largest = max(largest, sum >> 8);
    }
    scratch[at + push.window + part()] = uint(largest);
  }
}

// e[p] in place of s[p]: each invocation those it has scored.
void weigh(uint heads, uint position) {
  for (uint head = 0u; head < heads; ++head) {
    uint at = head_scratch(head);
    int largest = int(scratch[at + push.window]);
    for (uint i = 1u; i < kShare; ++i) largest = max(largest, int(scratch[at + push.window + i]));
    for (uint p = part(); p <= position; p += kShare) {
      scratch[at + p] = tables[kSoftmaxAt + uint(min(255, largest - int(scratch[at + p])))];
    }
  }
}

// Sums reach 2^18 · 127 · 1024: more than 32 bits. Their quotient is within 127.
void weighted_values(DeviceInstruction i, uint heads, uint position) {
  uint row = words(i.width);
  for (uint w = part(); w < row; w += kShare) {
    uint at = head_scratch(w / kHeadWords), values = state_at(i.values) + w, total = 0u;
    int64_t s0 = 0l, s1 = 0l, s2 = 0l, s3 = 0l;
    for (uint p = 0u; p <= position; ++p) {
      int e = int(scratch[at + p]);
      ivec4 v = unpack(states[values + p * row]);
      total += uint(e);
      s0 += int64_t(e * v.x);  // below 2^25
      s1 += int64_t(e * v.y);
      s2 += int64_t(e * v.z);
      s3 += int64_t(e * v.w);
    }
    set_slot(i.dst + w, pack(ivec4(int(divide_floor_wide(s0, total)), int(divide_floor_wide(s1, total)),
                                   int(divide_floor_wide(s2, total)), int(divide_floor_wide(s3, total)))));
  }
}

// All of a workgroup call it; positions differ from member to member.
void attend(DeviceInstruction i, uint position) {
  uint row = words(i.width), heads = i.width / 64u;
  for (uint w = part(); w < row; w += kShare) {
    states[state_at(i.keys) + position * row + w] = slot_word(mine(), i.y + w);
    states[state_at(i.values) + position * row + w] = slot_word(mine(), i.z + w);
  }
  sync();
  score(i, heads, position);
  sync();
  weigh(heads, position);
  sync();
  weighted_values(i, heads, position);
}
