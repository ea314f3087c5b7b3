#include "backend/cpu/tile.h"

#include <algorithm>

namespace clutch::cpu {

TileEvaluator::TileEvaluator(const LoadedModel& model, const TileShape& shape)
    : model_(model),
      capacity_(std::int64_t{shape.members} * shape.chunk),
      slots_(model.schedule.row_bytes * capacity_),
      noise_((shape.members + 1) / 2 * model.noise_bytes),
      vectors_(shape.members * model.vector_bytes),
      matrix_noise_(model.program.tensors.size() * shape.members),
      scratch_(model.scratch_bytes),
      most_members_(shape.members),
      most_tokens_(shape.chunk) {}

void TileEvaluator::run(const EvaluateRequest& request, const EvaluateResult& result, std::uint32_t first,
                        std::uint32_t count, std::int8_t* states, TraceBuffer* trace, std::uint32_t traced) {
  check(count <= most_members_, "a tile holds no more members than it was made for");
  request_ = &request;
  result_ = &result;
  first_ = first;
  count_ = count;
  states_ = states;
  trace_ = trace;
  traced_ = traced;
  if (request.noise) make_noise();
  std::fill_n(result.losses.begin() + first, count, 0);
  for (std::uint32_t begin = 0; begin < request.length; begin += most_tokens_) {
    chunk_ = std::min(most_tokens_, request.length - begin);
    run_chunk(begin);
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

// The member's own vectors: clip(w ± (a·b >> shift)).
void TileEvaluator::make_vectors(std::uint32_t member) {
  const int shift = kNoiseFractionBits + model_.shape.sigma_shift;
  for (std::size_t t = 0; t < model_.places.size(); ++t) {
    if (model_.program.tensors[t].kind != TensorKind::kVector) continue;
    const MatrixNoise& noise = matrix_noise_[t * most_members_ + member];
    std::int8_t* out = vectors_.data() + member * model_.vector_bytes + model_.places[t].vector;
    const auto& plain = model_.plain_vectors[t];
    for (std::size_t n = 0; n < plain.size(); ++n) {
      out[n] = exact::clip(plain[n] + noise.sign * exact::shift_floor(noise.a[n] * noise.b[n], shift));
    }
  }
}

void TileEvaluator::run_chunk(std::uint32_t begin) {
  begin_ = begin;
  for (const Group& group : model_.schedule.groups) {
    if (!group.token_by_token) {
      for (const Node& node : group.nodes) {
        run_node(node, 0, chunk_);
        if (node.instruction == kNothing) save_state(node.state);
      }
      continue;
    }
    for (std::uint32_t t = 0; t < chunk_; ++t) {
      for (const Node& node : group.nodes) run_node(node, t, 1);
    }
    for (const Node& node : group.nodes) {
      if (node.instruction == kNothing) save_state(node.state);
    }
  }
  finish_chunk(begin);
}

void TileEvaluator::run_node(const Node& node, std::uint32_t t, std::uint32_t tokens) {
  if (node.instruction == kNothing) {
    read_state(node.state, t, tokens);
    return;
  }
  if (tokens == 1) {
    run_instruction(node.instruction, {0, count_, t, 1});
  } else {
    for (std::uint32_t m = 0; m < count_; ++m) run_instruction(node.instruction, {m, 1, t, tokens});
  }
  if (trace_ != nullptr) keep_trace(node.instruction, t, tokens);
}

RowsIn TileEvaluator::vector(int tensor, const Rows& rows) const {
  if (tensor == kNothing) return {nullptr, 0};
  if (!request_->noise) return {model_.plain_vectors[tensor].data(), 0};
  return {vectors_.data() + rows.m * model_.vector_bytes + model_.places[tensor].vector,
          rows.step() * model_.vector_bytes};
}

const std::uint16_t* TileEvaluator::text(std::uint32_t m) const {
  return request_->text.data() + std::size_t{request_->stream_of[first_ + m]} * (request_->length + 1) +
         begin_;
}

void TileEvaluator::run_instruction(int index, const Rows& rows) {
  const Instruction& instruction = model_.program.instructions[index];
  if (instruction.op == Op::embed) return run_embed(instruction, rows);
  const auto operand = [&](int i) {
    return instruction.in[i] == kNothing ? RowsIn{nullptr, 0} : in(instruction.in[i], rows);
  };
  const Kernels& kernels = model_.kernels;
  if (instruction.op == Op::matmul) {
    const Bounds& bounds = model_.bounds[index];
    return kernels.matmul(
        {.packed = model_.packed[instruction.tensor].data(),
         .n = width(instruction.dst),
         .k = width(instruction.in[0]),
         .rows = rows.count(),
         .x = operand(0),
         .y = out(instruction.dst, rows),
         .divider = model_.dividers[index],
         .noise = request_->noise ? &matrix_noise_[instruction.tensor * most_members_ + rows.m] : nullptr,
         .noise_step = rows.step(),
         .rank = model_.shape.rank,
         .noise_shift = kNoiseFractionBits + model_.shape.sigma_shift,
         .wide_noise = bounds.perturbation >= std::int64_t{1} << 31,
         .scratch = scratch_.data()});
  }
  const RowTask task{.width = width(instruction.dst),
                     .rows = rows.count(),
                     .x = operand(0),
                     .y = operand(1),
                     .z = operand(2),
                     .out = out(instruction.dst, rows),
                     .vector = vector(instruction.tensor, rows)};
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
    case Op::embed:
    case Op::matmul:
      break;
  }
}

void TileEvaluator::run_embed(const Instruction& instruction, const Rows& rows) {
  const TensorSpec& tensor = model_.program.tensors[instruction.tensor];
  const int shift = kNoiseFractionBits + model_.shape.sigma_shift;
  for (std::uint32_t i = 0; i < rows.count(); ++i) {
    const std::uint32_t m = rows.m + (rows.members > 1 ? i : 0), t = rows.t + (rows.members > 1 ? 0 : i);
    const std::uint16_t token = text(m)[t];
    const std::int8_t* weights = model_.weights[instruction.tensor].data() + token * tensor.cols;
    std::int8_t* y = row(instruction.dst, m, t);
    std::fill_n(y, width(instruction.dst), std::int8_t{0});
    std::copy(weights, weights + tensor.cols, y);
    if (!request_->noise) continue;
    const MatrixNoise& noise = matrix_noise_[instruction.tensor * most_members_ + m];
    for (std::int64_t d = 0; d < tensor.cols; ++d) {
      std::int32_t product = 0;
      for (int j = 0; j < model_.shape.rank; ++j) {
        product += noise.a[j * padded(tensor.rows) + token] * noise.b[j * padded(tensor.cols) + d];
      }
      y[d] = exact::clip(y[d] + noise.sign * exact::shift_floor(product, shift));
    }
  }
}

// slots[read] of tokens [t, t + tokens): zeros where a document starts, else slots[write] of the token
// before, which for the chunk's first token is the saved state.
void TileEvaluator::read_state(int state, std::uint32_t t, std::uint32_t tokens) {
  const State& s = model_.program.states[state];
  std::int64_t place = 0;
  for (int i = 0; i < state; ++i) place += model_.program.slots[model_.program.states[i].read].width;
  const std::int64_t plain = model_.program.slots[s.read].width;
  for (std::uint32_t m = 0; m < count_; ++m) {
    for (std::uint32_t i = t; i < t + tokens; ++i) {
      const std::int8_t* source =
          i == 0 ? states_ + m * model_.program.state_width() + place : row(s.write, m, i - 1);
      std::int8_t* target = row(s.read, m, i);
      std::fill_n(target, width(s.read), std::int8_t{0});
      if (text(m)[i] != 0) std::copy(source, source + plain, target);
    }
  }
}

void TileEvaluator::save_state(int state) {
  const State& s = model_.program.states[state];
  std::int64_t place = 0;
  for (int i = 0; i < state; ++i) place += model_.program.slots[model_.program.states[i].read].width;
  for (std::uint32_t m = 0; m < count_; ++m) {
    const std::int8_t* last = row(s.write, m, chunk_ - 1);
    std::copy(last, last + model_.program.slots[s.read].width,
              states_ + m * model_.program.state_width() + place);
  }
}

void TileEvaluator::finish_chunk(std::uint32_t begin) {
  const std::int64_t vocab = model_.program.vocab;
  for (std::uint32_t m = 0; m < count_; ++m) {
    const Rows rows{m, 1, 0, chunk_};
    const RowsIn logits = in(model_.program.output, rows);
    result_->losses[first_ + m] += model_.kernels.loss(logits, chunk_, vocab, text(m) + 1);
    if (result_->logits.empty()) continue;
    std::int8_t* target =
        result_->logits.data() + (std::size_t{first_ + m} * request_->length + begin) * vocab;
    for (std::uint32_t t = 0; t < chunk_; ++t) target = std::copy_n(logits.row(t), vocab, target);
  }
}

void TileEvaluator::keep_trace(int index, std::uint32_t t, std::uint32_t tokens) {
  const int slot = model_.program.instructions[index].dst;
  const std::int64_t plain = model_.program.slots[slot].width;
  for (std::uint32_t i = t; i < t + tokens; ++i) {
    std::copy_n(row(slot, traced_, i), plain, (*trace_)[index].data() + (begin_ + i) * plain);
  }
}

}  // namespace clutch::cpu
