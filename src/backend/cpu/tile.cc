#include "backend/cpu/tile.h"

#include <algorithm>
#include <utility>

namespace clutch::cpu {
namespace {

// Members whose distinct tokens are worked on at a time, as many rows for each as the one with the most has:
// few, so that it has hardly more than the others; but calls of kernels should have some rows.
constexpr std::uint32_t kTogether = 8;
// To keep a row and bring it costs about as much for each byte as so many multiply-adds.
constexpr std::int64_t kMultipliesPerByte = 20;

}  // namespace

TileEvaluator::TileEvaluator(const LoadedModel& model, const Schedule& schedule, const TileShape& shape)
    : model_(model),
      schedule_(schedule),
      pitch_(shape.chunk | 1),
      capacity_(shape.members * pitch_),
      slots_(schedule.row_bytes * capacity_),
      noise_((shape.members + 1) / 2 * model.noise_bytes),
      vectors_(shape.members * model.vector_bytes),
      matrix_noise_(model.program.tensors.size() * shape.members),
      positions_(model.program.window > 0 ? capacity_ : 0),
      stretch_(shape.stretch),
      kept_rows_(std::min<std::int64_t>(shape.stretch, model.program.vocab)),
      kept_(shape.members * kept_rows_ * schedule.kept_bytes),
      most_members_(shape.members),
      most_tokens_(shape.chunk) {
  std::int64_t place = 0;
  for (const int slot : schedule.kept) {
    kept_places_.push_back(place);
    place += shape.members * kept_rows_ * width(slot);
  }
  if (!schedule.kept.empty()) {
    distinct_.resize(shape.members * kept_rows_);
    place_of_.resize(std::size_t{shape.members} * stretch_);
    repeats_.resize(shape.members);
    found_.assign(model.program.vocab, kNothing);
  }
  std::size_t bytes = 0;
  for (const Instruction& instruction : model.program.instructions) {
    if (instruction.op == Op::rotate || instruction.op == Op::add_rescale)
      bytes = std::max(bytes, 2 * kMeasured * static_cast<std::size_t>(width(instruction.dst)));
    if (instruction.op == Op::attend) {
      bytes = std::max(bytes, model.kernels.attend_scratch_bytes(model.program.window, shape.chunk));
    }
    if (instruction.op != Op::matmul) continue;
    bytes = std::max(bytes, model.kernels.scratch_bytes(width(instruction.dst), width(instruction.in[0]),
                                                        capacity_, model.shape.rank));
  }
  scratch_.resize(bytes);
}

void TileEvaluator::run(const EvaluateRequest& request, const EvaluateResult& result, std::uint32_t first,
                        std::uint32_t count, std::int8_t* states, TraceBuffer* trace, std::uint32_t traced) {
  check(count <= most_members_, "a tile holds no more members than it was made for");
  request_ = &request;
  result_ = &result;
  first_ = first;
  count_ = count;
  states_ = states == nullptr ? zero_states() : states;
  trace_ = trace;
  traced_ = traced;
  if (request.noise) make_noise();
  std::fill_n(result.losses.begin() + first, count, 0);
  for (std::uint32_t begin = 0; begin < request.length; begin += stretch_) {
    run_stretch(begin, std::min(stretch_, request.length - begin));
  }
}

void TileEvaluator::run_stretch(std::uint32_t begin, std::uint32_t tokens) {
  begin_ = begin;
  const bool keeps = !schedule_.kept.empty() && find_distinct(tokens);
  if (keeps) {
    for (std::uint32_t m = 0; m < count_; m += kTogether) run_distinct(m, std::min(kTogether, count_ - m));
  }
  for (std::uint32_t done = 0; done < tokens; done += chunk_) {
    begin_ = begin + done;
    chunk_ = std::min(most_tokens_, tokens - done);
    const Part all{0, count_, 0, chunk_};
    if (keeps) {
      bring_rows(done);
    } else {
      run_groups(true, all);
    }
    count_positions();
    run_groups(false, all);
    finish_chunk();
  }
}

// Each text's distinct tokens among the stretch's, in the order in which they come; after them its first one
// again, for others may have more. Returns whether so many come again that it pays.
bool TileEvaluator::find_distinct(std::uint32_t tokens) {
  const auto streams = request_->stream_of.subspan(first_, count_);
  std::int64_t saved = 0;
  for (std::uint32_t m = 0; m < count_; ++m) {
    Repeats& repeats = repeats_[m];
    const auto same = std::find(streams.begin(), streams.begin() + m, streams[m]) - streams.begin();
    repeats = same < m ? repeats_[same] : find_repeats(m, tokens);
    saved += tokens - repeats.count;
  }
  return saved * schedule_.token_multiplies > count_ * tokens * schedule_.kept_bytes * kMultipliesPerByte;
}

TileEvaluator::Repeats TileEvaluator::find_repeats(std::uint32_t m, std::uint32_t tokens) {
  std::uint16_t *distinct = &distinct_[m * kept_rows_], *place_of = &place_of_[std::size_t{m} * stretch_];
  const std::uint16_t* all = text(m);
  std::uint32_t count = 0;
  for (std::uint32_t t = 0; t < tokens; ++t) {
    std::int32_t& place = found_[all[t]];
    if (place == kNothing) {
      place = static_cast<std::int32_t>(count);
      distinct[count++] = all[t];
    }
    place_of[t] = static_cast<std::uint16_t>(place);
  }
  for (std::uint32_t i = 0; i < count; ++i) found_[distinct[i]] = kNothing;
  std::fill(distinct + count, distinct + kept_rows_, distinct[0]);
  return {count, distinct, place_of};
}

// What depends on the token alone, for the distinct ones of some members, in the memory of a chunk; kept in
// rows of their own.
void TileEvaluator::run_distinct(std::uint32_t member, std::uint32_t members) {
  std::uint32_t count = 0;
  for (std::uint32_t m = member; m < member + members; ++m) count = std::max(count, repeats_[m].count);
  const std::uint32_t pieces = (count + most_tokens_ - 1) / most_tokens_,
                      piece = (count + pieces - 1) / pieces;
  for (std::uint32_t first = 0; first < count; first += piece) {
    distinct_from_ = first;
    chunk_ = std::min(piece, count - first);
    const Part part{member, members, 0, chunk_};
    run_groups(true, part);
    for (std::size_t k = 0; k < kept_places_.size(); ++k) {
      const int slot = schedule_.kept[k];
      const std::int64_t wide = width(slot);
      model_.kernels.copy({.width = wide,
                           .members = members,
                           .tokens = chunk_,
                           .x = in(slot, part),
                           .out = {kept_row(k, member) + first * wide, kept_rows_ * wide, wide}});
    }
  }
  distinct_from_ = kNothing;
}

// To the chunk that begins at token `from` of the stretch, what was kept of its tokens: an embedding without
// noise is a choice of rows.
void TileEvaluator::bring_rows(std::uint32_t from) {
  for (std::size_t k = 0; k < kept_places_.size(); ++k) {
    const int slot = schedule_.kept[k];
    for (std::uint32_t m = 0; m < count_; ++m) {
      model_.kernels.embed({.width = width(slot),
                            .count = chunk_,
                            .table = kept_row(k, m),
                            .tokens = repeats_[m].place_of + from,
                            .out = row(slot, m, 0),
                            .noise = nullptr,
                            .a_step = 0,
                            .rank = 0,
                            .noise_shift = 0});
    }
  }
}

void TileEvaluator::make_noise() {
  const NoiseSource& noise = *request_->noise;
  for (std::uint32_t m = 0; m < count_; ++m) {
    const std::int8_t* block = noise_.data() + (m / 2) * model_.noise_bytes;
    if (m % 2 == 0) {
      fill_pair_noise(model_, noise, noise.first_pair + (first_ + m) / 2,
                      noise_.data() + (m / 2) * model_.noise_bytes);
    }
    for (std::size_t t = 0; t < model_.places.size(); ++t) {
      matrix_noise_[t * most_members_ + m] = {block + model_.places[t].a, block + model_.places[t].b,
                                              m % 2 == 0 ? 1 : -1};
    }
    make_vectors(m);
  }
}

void TileEvaluator::make_vectors(std::uint32_t member) {
  for (std::size_t t = 0; t < model_.places.size(); ++t) {
    if (model_.program.tensors[t].kind != TensorKind::kVector) continue;
    model_.kernels.make_vector(
        {.width = static_cast<std::int64_t>(model_.plain[t].size()),
         .weights = model_.plain[t].data(),
         .noise = matrix_noise_[t * most_members_ + member],
         .noise_shift = kNoiseFractionBits + model_.shape.sigma_shift,
         .out = vectors_.data() + member * model_.vector_bytes + model_.places[t].vector});
  }
}

// Zeros but for the caches, of which nothing is read before it is written.
std::int8_t* TileEvaluator::zero_states() {
  const std::int64_t width = model_.program.state_width();
  own_states_.resize(most_members_ * width);
  for (std::uint32_t m = 0; m < count_; ++m) {
    std::fill_n(own_states_.begin() + m * width, std::min(width, model_.count_place + kCountWidth), 0);
  }
  return own_states_.data();
}

void TileEvaluator::count_positions() {
  const std::int64_t window = model_.program.window;
  if (window == 0) return;
  for (std::uint32_t m = 0; m < count_; ++m) {
    std::int8_t* stored = states_ + m * model_.program.state_width() + model_.count_place;
    std::int64_t count = read_count(stored, window);
    for (std::uint32_t t = 0; t < chunk_; ++t) {
      const std::int64_t position = next_position(count, text(m)[t], window);
      positions_[m * pitch_ + t] = static_cast<std::uint16_t>(position);
      count = position + 1;
    }
    write_count(count, stored);
  }
}

void TileEvaluator::run_groups(bool by_token, const Part& part) {
  for (const Group& group : schedule_.groups) {
    if (group.by_token != by_token) continue;
    switch (group.order) {
      case Order::kNodeByNode:
        for (const Node& node : group.nodes) {
          run_node(node, part);
          if (node.instruction == kNothing) save_state(node.state);
        }
        break;
      case Order::kMemberByMember:
        for (std::uint32_t m = part.member; m < part.member + part.members; ++m) {
          for (const Node& node : group.nodes) run_node(node, {m, 1, part.token, part.tokens});
        }
        break;
      case Order::kTokenByToken:
        for (std::uint32_t t = part.token; t < part.token + part.tokens; ++t) {
          for (const Node& node : group.nodes) run_node(node, {part.member, part.members, t, 1});
        }
        for (const Node& node : group.nodes) {
          if (node.instruction == kNothing) save_state(node.state);
        }
        break;
    }
  }
}

void TileEvaluator::run_node(const Node& node, const Part& part) {
  if (node.instruction == kNothing) {
    read_state(node.state, part);
    return;
  }
  run_instruction(node, part);
  if (trace_ != nullptr) keep_trace(node.instruction, part);
}

RowsIn TileEvaluator::vector(int tensor, std::uint32_t member) const {
  if (tensor == kNothing) return {nullptr, 0, 0};
  if (!request_->noise) return {model_.plain[tensor].data(), 0, 0};
  return {vectors_.data() + member * model_.vector_bytes + model_.places[tensor].vector, model_.vector_bytes,
          0};
}

const std::uint16_t* TileEvaluator::text(std::uint32_t m) const {
  return request_->text.data() + std::size_t{request_->stream_of[first_ + m]} * (request_->length + 1) +
         begin_;
}

const std::uint16_t* TileEvaluator::tokens(std::uint32_t m) const {
  return distinct_from_ == kNothing ? text(m) : repeats_[m].distinct + distinct_from_;
}

void TileEvaluator::run_instruction(const Node& node, const Part& part) {
  const int index = node.instruction;
  const Instruction& instruction = model_.program.instructions[index];
  if (instruction.op == Op::embed) return run_embed(instruction, part);
  if (instruction.op == Op::matmul) return run_matmul(index, part);
  if (instruction.op == Op::attend) return run_attend(index, part);
  const Instruction* bias = node.bias == kNothing ? nullptr : &model_.program.instructions[node.bias];
  if (bias != nullptr && bias->op == Op::add_bias) return run_sum(node, part);
  const auto operand = [&](int i) {
    const int slot = instruction.in[i];
    if (slot == kNothing) return RowsIn{nullptr, 0, 0};
    return in(bias != nullptr && slot == bias->dst ? bias->in[0] : slot, part);
  };
  const Kernels& kernels = model_.kernels;
  const RowTask task{.width = width(instruction.dst),
                     .members = part.members,
                     .tokens = part.tokens,
                     .x = operand(0),
                     .y = operand(1),
                     .z = operand(2),
                     .out = out(node.writes(model_.program).out, part),
                     .vector = vector(instruction.tensor, part.member),
                     .bias = vector(bias == nullptr ? kNothing : bias->tensor, part.member)};
  switch (instruction.op) {
    case Op::norm:
      return kernels.norm({task, model_.program.slots[instruction.dst].width, instruction.rounding});
    case Op::add:
      return kernels.add(task);
    case Op::add_bias:
      return kernels.add_bias(task);
    case Op::gate:
      return kernels.gate(task);
    case Op::mix:
      return kernels.mix(task);
    case Op::relu:
      return kernels.relu(task);
    case Op::bias:
      return kernels.bias(task);
    case Op::gelu:
      return kernels.gelu(task);
    case Op::rescale:
      return kernels.rescale(task);
    case Op::add_rescale:
      return kernels.add_rescale({task, scratch_.data()});
    case Op::rotate:
      return kernels.rotate({task, positions_.data() + part.member * pitch_ + part.token, pitch_,
                             model_.turns, scratch_.data()});
    case Op::embed:
    case Op::matmul:
    case Op::attend:
      break;
  }
}

// A gate or mix with the add_bias before it.
void TileEvaluator::run_sum(const Node& node, const Part& part) {
  const Instruction &instruction = model_.program.instructions[node.instruction],
                    &sum = model_.program.instructions[node.bias];
  const Node::Written written = node.writes(model_.program);
  RowTask task{.width = width(instruction.dst),
               .members = part.members,
               .tokens = part.tokens,
               .x = in(sum.in[0], part),
               .y = in(sum.in[1], part),
               .out = out(written.out, part),
               .vector = vector(sum.tensor, part.member)};
  if (instruction.op == Op::gate) {
    task.z = in(instruction.in[1], part);
    task.sum = out(written.sum, part);
    return model_.kernels.bias_gate(task);
  }
  task.z = std::exchange(task.x, in(instruction.in[0], part));
  task.w = std::exchange(task.y, in(instruction.in[1], part));
  model_.kernels.bias_mix(task);
}

void TileEvaluator::run_matmul(int index, const Part& part) {
  const Instruction& instruction = model_.program.instructions[index];
  const Bounds& bounds = model_.bounds[index];
  model_.kernels.matmul(
      {.packed = model_.packed[instruction.tensor],
       .n = width(instruction.dst),
       .k = width(instruction.in[0]),
       .members = part.members,
       .tokens = part.tokens,
       .x = in(instruction.in[0], part),
       .y = out(instruction.dst, part),
       .divider = model_.dividers[index],
       .noise = request_->noise ? &matrix_noise_[instruction.tensor * most_members_ + part.member] : nullptr,
       .rank = model_.shape.rank,
       .noise_shift = kNoiseFractionBits + model_.shape.sigma_shift,
       .largest_sum = bounds.accumulator,
       .largest_projection = bounds.projection,
       .largest_perturbation = bounds.perturbation,
       .next = model_.next_packed[index],
       .scratch = scratch_.data()});
}

void TileEvaluator::run_embed(const Instruction& instruction, const Part& part) {
  for (std::uint32_t m = part.member; m < part.member + part.members; ++m) {
    model_.kernels.embed(
        {.width = width(instruction.dst),
         .count = part.tokens,
         .table = model_.plain[instruction.tensor].data(),
         .tokens = tokens(m) + part.token,
         .out = row(instruction.dst, m, part.token),
         .noise = request_->noise ? &matrix_noise_[instruction.tensor * most_members_ + m] : nullptr,
         .a_step = padded(model_.program.tensors[instruction.tensor].rows),
         .rank = model_.shape.rank,
         .noise_shift = kNoiseFractionBits + model_.shape.sigma_shift});
  }
}

// Stretch by stretch of consecutive positions: a window that begins anew overwrites the last one's rows. What
// begins at position 0 is read where it was computed, and kept only where a later token may look back at it.
void TileEvaluator::run_attend(int index, const Part& part) {
  const Instruction& instruction = model_.program.instructions[index];
  const std::int64_t wide = width(instruction.dst);
  const std::uint32_t last = part.token + part.tokens;
  const bool ends = request_->states == nullptr && begin_ + last == request_->length;
  for (std::uint32_t m = part.member; m < part.member + part.members; ++m) {
    std::int8_t* cache = states_ + m * model_.program.state_width() + model_.cache_places[index];
    const std::uint16_t* positions = positions_.data() + m * pitch_;
    for (std::uint32_t begin = part.token, end = begin; begin < last; begin = end) {
      do ++end;
      while (end < last && positions[end] != 0);
      const std::int64_t first = positions[begin], count = end - begin;
      const std::int8_t *keys = row(instruction.in[1], m, begin), *values = row(instruction.in[2], m, begin);
      if (first > 0 || !ends) {
        std::copy_n(keys, count * wide, cache + first * wide);
        std::copy_n(values, count * wide, cache + (model_.program.window + first) * wide);
      }
      model_.kernels.attend({.width = wide,
                             .first = first,
                             .count = count,
                             .queries = row(instruction.in[0], m, begin),
                             .query_step = wide,
                             .keys = first > 0 ? cache : keys,
                             .values = first > 0 ? cache + model_.program.window * wide : values,
                             .out = row(instruction.dst, m, begin),
                             .out_step = wide,
                             .scratch = scratch_.data()});
    }
  }
}

// slots[read] of the part's tokens: slots[write] of the token before, which for the chunk's first token is
// the saved state; zeros where a document starts.
void TileEvaluator::read_state(int state, const Part& part) {
  const State& s = model_.program.states[state];
  const std::int64_t plain = model_.program.slots[s.read].width, wide = width(s.read);
  const std::int8_t* saved = states_ + model_.state_places[state];
  for (std::uint32_t t = part.token; t < part.token + part.tokens; ++t) {
    if (t > 0) {
      model_.kernels.copy({.width = wide,
                           .members = part.members,
                           .tokens = 1,
                           .x = in(s.write, {part.member, part.members, t - 1, 1}),
                           .out = out(s.read, {part.member, part.members, t, 1})});
    }
    for (std::uint32_t m = part.member; m < part.member + part.members; ++m) {
      const bool starts = text(m)[t] == 0;
      if (!starts && t > 0) continue;
      std::int8_t* target = row(s.read, m, t);
      std::fill_n(target, wide, std::int8_t{0});
      if (!starts) std::copy_n(saved + m * model_.program.state_width(), plain, target);
    }
  }
}

void TileEvaluator::save_state(int state) {
  const State& s = model_.program.states[state];
  const std::int64_t place = model_.state_places[state];
  for (std::uint32_t m = 0; m < count_; ++m) {
    std::copy_n(row(s.write, m, chunk_ - 1), model_.program.slots[s.read].width,
                states_ + m * model_.program.state_width() + place);
  }
}

void TileEvaluator::finish_chunk() {
  const std::int64_t vocab = model_.program.vocab;
  for (std::uint32_t m = 0; m < count_; ++m) {
    const std::int8_t* logits = row(model_.program.output, m, 0);
    result_->losses[first_ + m] += model_.kernels.loss(logits, chunk_, vocab, text(m) + 1);
    if (result_->logits.empty()) continue;
    std::int8_t* target =
        result_->logits.data() + (std::size_t{first_ + m} * request_->length + begin_) * vocab;
    for (std::uint32_t t = 0; t < chunk_; ++t)
      target = std::copy_n(logits + t * padded(vocab), vocab, target);
  }
}

void TileEvaluator::keep_trace(int index, const Part& part) {
  if (traced_ < part.member || traced_ >= part.member + part.members) return;
  const int slot = model_.program.instructions[index].dst;
  const std::int64_t plain = model_.program.slots[slot].width;
  for (std::uint32_t i = part.token; i < part.token + part.tokens; ++i) {
    std::copy_n(row(slot, traced_, i), plain, (*trace_)[index].data() + (begin_ + i) * plain);
  }
}

}  // namespace clutch::cpu
