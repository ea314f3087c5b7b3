// What an invocation knows of the member it works for: kShare invocations serve one, `part` among them. Also slots, and
// how members see perturbed vectors. Slots lie in shared memory (SHARED_SLOTS) or in a buffer.

#ifdef SHARED_SLOTS
shared uvec4 tile_slots[kSharedSlotWords / 4u];
#define SLOT_QUAD(i) tile_slots[i]
#else
#define SLOT_QUAD(i) slots[gl_WorkGroupID.x * (kTile * push.slot_words / 4u) + (i)]
#endif

shared int partials[kTile * kMostComponents];
shared int projections[kTile * kMostComponents];
shared uint64_t sums[kMostLanes];

const uint kShare = kLanes / kTile;  // invocations that work for one member

uint mine() { return gl_LocalInvocationIndex / kShare; }
uint part() { return gl_LocalInvocationIndex % kShare; }

// The member's number in the dispatch; beyond the last where a tile is not full: such lanes compute what nobody reads.
uint member_of(uint in_tile) { return gl_WorkGroupID.x * kTile + in_tile; }

uint slot_word(uint in_tile, uint at) {
  uint i = in_tile * push.slot_words + at;
  return SLOT_QUAD(i >> 2)[i & 3u];
}
void set_slot(uint at, uint word) {
  uint i = mine() * push.slot_words + at;
  SLOT_QUAD(i >> 2)[i & 3u] = word;
}
ivec4 slot(uint at) { return unpack(slot_word(mine(), at)); }

// What the workgroup wrote is seen by all of it.
void sync() {
  memoryBarrierBuffer();
  memoryBarrierShared();
  barrier();
}

uint state_at(uint at) { return member_of(mine()) * push.state_words + at; }
uint scratch_at(uint at) { return member_of(mine()) * push.scratch_words + at; }
uint noise_of(uint in_tile) { return member_of(in_tile) / 2u * push.noise_words; }
int sign_of(uint in_tile) { return (in_tile & 1u) == 0u ? 1 : -1; }
uint shift_bits() { return 4u + push.sigma_shift; }

// Four elements of a vector as this member sees it.
ivec4 vector_word(uint tensor, uint w) {
  DeviceTensor t = tensors[tensor];
  ivec4 v = unpack(weights[t.weights + w]);
  if (push.noisy == 0u) return v;
  uint base = noise_of(mine()) + w;
  ivec4 product = unpack(noise[base + t.noise_a]) * unpack(noise[base + t.noise_b]);
  return clip_four(v + sign_of(mine()) * (product >> shift_bits()));
}

uint words(uint elements) { return (elements + 3u) / 4u; }

// Of a row's last word, the elements beyond its width become zero.
ivec4 only(ivec4 v, uint w, uint width) {
  for (uint i = 0u; i < 4u; ++i) v[i] = 4u * w + i < width ? v[i] : 0;
  return v;
}

// The sum, or the largest, of what the kShare invocations of a member bring. All of a workgroup call it.
int sum_of_share(int value) {
  partials[gl_LocalInvocationIndex] = value;
  sync();
  int sum = 0;
  for (uint i = 0u; i < kShare; ++i) sum += partials[mine() * kShare + i];
  return sum;
}
int largest_of_share(int value) {
  partials[gl_LocalInvocationIndex] = value;
  sync();
  int largest = partials[mine() * kShare];
  for (uint i = 1u; i < kShare; ++i) largest = max(largest, partials[mine() * kShare + i]);
  return largest;
}
