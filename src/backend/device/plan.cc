#include "backend/device/plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"

namespace clutch::device {
namespace {

constexpr std::size_t kMostTensors = 65535;          // workgroups in a dimension
constexpr std::uint32_t kRowAlignment = 16;          // kernels read rows by four words
constexpr std::uint64_t kBatchBytes = 128ull << 20;  // of noise or slots: enough members to fill any device

std::uint64_t filled_up(std::int64_t bytes) {
  return (static_cast<std::uint64_t>(bytes) + kRowAlignment - 1) & ~std::uint64_t{kRowAlignment - 1};
}

// Upper bounds in bytes, of whatever size: Layout takes no more than 2^32.
struct Sizes {
  std::uint64_t weights = 0, noise = 0, slots = 0, states = 0, scratch = 0, vocab = 0;
};

// Attention's scores of a member, in words: per head of the widest, its window and each invocation's largest.
std::uint64_t scratch_words(const Program& program) {
  std::int64_t widest = 0;
  for (const Instruction& i : program.instructions) {
    if (i.op == Op::attend) widest = std::max(widest, program.slots[i.dst].width);
  }
  return static_cast<std::uint64_t>(widest) / (4 * kHeadWords) *
         (static_cast<std::uint64_t>(program.window) + kMostShare);
}

Sizes sizes_of(const Program& program, const NoiseShape& noise) {
  Sizes sizes;
  for (const TensorSpec& t : program.tensors) {
    const bool vector = t.kind == TensorKind::kVector;
    const std::uint64_t rows = filled_up(t.rows), cols = filled_up(vector ? t.rows : t.cols);
    sizes.weights += vector ? cols : static_cast<std::uint64_t>(t.rows) * cols;
    sizes.noise += (vector ? 1 : static_cast<std::uint64_t>(noise.rank)) * (rows + cols);
  }
  for (const Slot& slot : program.slots) sizes.slots += filled_up(slot.width);
  for (const State& state : program.states) sizes.states += filled_up(program.slots[state.read].width);
  if (program.window > 0) sizes.states += kRowAlignment;
  for (const Instruction& i : program.instructions) {
    if (i.op != Op::attend) continue;
    sizes.states += 2 * static_cast<std::uint64_t>(program.window * program.slots[i.dst].width);
  }
  sizes.scratch = 4 * scratch_words(program);
  sizes.vocab = filled_up(program.vocab);
  return sizes;
}

std::uint32_t words(std::uint64_t bytes) {
  check_equal(bytes % 4, std::uint64_t{0}, "bytes of whole words");
  return static_cast<std::uint32_t>(bytes / 4);
}
std::uint32_t words_or_nowhere(std::uint32_t bytes) { return bytes == kNone ? kNowhere : words(bytes); }

void add_tensors(Plan& plan) {
  for (const FlatTensor& t : plan.layout.tensors) {
    plan.tensors.push_back({.rows = t.rows,
                            .cols = t.cols,
                            .is_vector = t.is_vector,
                            .weights = words(t.weights),
                            .stride = words(t.stride),
                            .components = t.components,
                            .noise_a = words(t.noise_a),
                            .stride_a = words(t.stride_a),
                            .noise_b = words(t.noise_b),
                            .stride_b = words(t.stride_b)});
  }
}

// Layout has states as Program does; kernels want every piece at a whole word.
void add_states(const Program& program, Plan& plan) {
  std::uint64_t at = 0;
  const auto add = [&](std::uint64_t host, std::uint64_t bytes) {
    plan.pieces.push_back({host, at, bytes});
    const std::uint32_t place = words(at);
    at += filled_up(static_cast<std::int64_t>(bytes));
    return place;
  };
  for (const FlatState& s : plan.layout.states) {
    const std::uint32_t place = add(s.offset, s.width);
    plan.states.push_back({place, (s.width + 3) / 4, words(s.read), words(s.write)});
  }
  if (program.window > 0) plan.count_at = add(plan.layout.count, kCountWidth);
  for (std::size_t i = 0; i < plan.instructions.size(); ++i) {
    const FlatInstruction& flat = plan.layout.instructions[i];
    if (flat.keys == kNone) continue;
    plan.instructions[i].keys = add(flat.keys, std::uint64_t{plan.layout.window} * flat.width);
    plan.instructions[i].values = add(flat.values, std::uint64_t{plan.layout.window} * flat.width);
  }
  plan.state_words = words(at);
}

void add_instructions(Plan& plan) {
  for (const FlatInstruction& i : plan.layout.instructions) {
    plan.instructions.push_back({.op = i.op,
                                 .dst = words(i.dst),
                                 .width = i.width,
                                 .x = words_or_nowhere(i.in[0]),
                                 .y = words_or_nowhere(i.in[1]),
                                 .z = words_or_nowhere(i.in[2]),
                                 .in_width = i.in_width,
                                 .tensor = i.tensor,
                                 .divisor = i.divisor,
                                 .truncates = i.truncates,
                                 .keys = kNowhere,
                                 .values = kNowhere,
                                 .trace = plan.trace_words});
    plan.trace_words += (i.width + 3) / 4;
  }
}

// Members whose buffers fit, in whole tiles; 0 where not even one tile does.
std::uint32_t members_of_batch(const Sizes& sizes, const Limits& limits) {
  const auto fit = [&](std::uint64_t member_bytes, std::uint64_t room) {
    return std::min(limits.buffer_bytes, room) / std::max<std::uint64_t>(1, member_bytes) / kTile * kTile;
  };
  const std::uint64_t largest = std::max({sizes.slots, sizes.scratch, sizes.vocab, (sizes.noise + 1) / 2});
  std::uint64_t members = std::max<std::uint64_t>(fit(largest, kBatchBytes), kTile);
  members = std::min({members, fit(largest, limits.buffer_bytes), fit(sizes.states, limits.buffer_bytes)});
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(members, 1 << 16));
}

}  // namespace

Status check_fit(const std::string& device, const Program& program, const NoiseShape& noise,
                 const Limits& limits) {
  const Sizes sizes = sizes_of(program, noise);
  const auto refuse = [&](const std::string& what, std::uint64_t bytes) {
    return fail(device,
                fmt::format("{} of this model would take {} bytes in one buffer, over the device's {}", what,
                            bytes, limits.buffer_bytes),
                "use a smaller model, or --backend cpu");
  };
  if (program.tensors.size() > kMostTensors) {
    return fail(device, fmt::format("{} tensors are over its {}", program.tensors.size(), kMostTensors),
                "use fewer layers, or --backend cpu");
  }
  if (4 * sizes.weights > limits.buffer_bytes) return refuse("votes", 4 * sizes.weights);
  const struct {
    const char* what;
    std::uint64_t bytes;
  } parts[] = {{"noise of a tile", kTile / 2 * sizes.noise},
               {"slots of a tile", kTile * sizes.slots},
               {"states of a tile", kTile * sizes.states},
               {"attention scores of a tile", kTile * sizes.scratch},
               {"logits of a tile", kTile * sizes.vocab}};
  for (const auto& part : parts) {
    if (part.bytes > limits.buffer_bytes) return refuse(part.what, part.bytes);
  }
  const std::uint64_t iterations = make_plan(program, noise, limits).cost.largest_part();
  if (limits.iterations > 0 && iterations > limits.iterations) {
    return fail(device,
                fmt::format("an instruction of this model could take {} iterations, over the device's {}",
                            iterations, limits.iterations),
                "use a smaller model, or --backend cpu");
  }
  return {};
}

Plan make_plan(const Program& program, const NoiseShape& noise, const Limits& limits) {
  Plan plan;
  plan.layout = make_layout(program, noise, kRowAlignment);
  add_tensors(plan);
  add_instructions(plan);
  add_states(program, plan);
  plan.slot_words = words(plan.layout.slot_bytes);
  plan.noise_words = words(plan.layout.noise_bytes);
  plan.scratch_words = static_cast<std::uint32_t>(scratch_words(program));
  plan.lanes = limits.lanes;
  plan.cost = cost_of(plan, plan.lanes);
  if (limits.iterations > 0 && plan.cost.largest_part() > limits.iterations) {
    plan.lanes = kMostLanes;
    plan.cost = cost_of(plan, plan.lanes);
  }
  const bool whole_tokens = limits.iterations == 0 || plan.cost.whole_token() <= limits.iterations;
  plan.shared_slots =
      whole_tokens && kTile * plan.slot_words <= kSharedSlotWords && limits.shared_bytes >= kSharedBytes;
  plan.batch = members_of_batch(sizes_of(program, noise), limits);
  check(plan.batch >= kTile, "a tile of members fits the device");
  return plan;
}

}  // namespace clutch::device
