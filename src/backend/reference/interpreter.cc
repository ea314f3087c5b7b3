#include "backend/reference/interpreter.h"

#include <algorithm>

#include "exact/arithmetic.h"
#include "exact/attention.h"
#include "exact/noise.h"

namespace clutch::reference {
namespace {

using exact::clip;
using exact::divide;
using exact::divide_floor;
using exact::shift_floor;

int components(const TensorSpec& tensor, const NoiseShape& shape) {
  return tensor.kind == TensorKind::kMatrix ? shape.rank : 1;
}

// ± (sum >> (4 + sigma_shift)): the sign comes after the shift, so that a pair's two members mirror each
// other.
std::int64_t perturbation(const MemberView& member, std::int64_t sum) {
  return member.sign * shift_floor(sum, kNoiseFractionBits + member.shape.sigma_shift);
}

std::int8_t vector_element(const MemberView& member, int tensor, std::int64_t n) {
  const std::int8_t w = member.weights[tensor][n];
  if (member.factors == nullptr) return w;
  const Factors& noise = (*member.factors)[tensor];
  return clip(w + perturbation(member, noise.a[n] * noise.b[n]));
}

void embed(const MemberView& member, int tensor, std::uint16_t token, std::vector<std::int8_t>& y) {
  const TensorSpec& spec = member.program.tensors[tensor];
  for (std::int64_t d = 0; d < spec.cols; ++d) {
    std::int64_t sum = member.weights[tensor][token * spec.cols + d];
    if (member.factors != nullptr) {
      const Factors& noise = (*member.factors)[tensor];
      std::int64_t product = 0;
      for (int j = 0; j < member.shape.rank; ++j) {
        product += noise.a[j * spec.rows + token] * noise.b[j * spec.cols + d];
      }
      sum += perturbation(member, product);
    }
    y[d] = clip(sum);
  }
}

void matmul(const MemberView& member, const Instruction& instruction, const std::vector<std::int8_t>& x,
            std::vector<std::int8_t>& y) {
  const TensorSpec& spec = member.program.tensors[instruction.tensor];
  const std::vector<std::int8_t>& w = member.weights[instruction.tensor];
  const Factors* noise = member.factors == nullptr ? nullptr : &(*member.factors)[instruction.tensor];

  std::vector<std::int64_t> projection;  // x·B, by component
  for (int j = 0; noise != nullptr && j < member.shape.rank; ++j) {
    std::int64_t sum = 0;
    for (std::int64_t k = 0; k < spec.cols; ++k) sum += x[k] * noise->b[j * spec.cols + k];
    projection.push_back(sum);
  }
  for (std::int64_t n = 0; n < spec.rows; ++n) {
    std::int64_t sum = 0, product = 0;
    for (std::int64_t k = 0; k < spec.cols; ++k) sum += x[k] * w[n * spec.cols + k];
    for (std::size_t j = 0; j < projection.size(); ++j)
      product += projection[j] * noise->a[j * spec.rows + n];
    y[n] = clip(divide_floor(sum + perturbation(member, product), instruction.divisor));
  }
}

void norm(const MemberView& member, const Instruction& instruction, const std::vector<std::int8_t>& x,
          std::vector<std::int8_t>& y) {
  const auto width = static_cast<std::int64_t>(x.size());
  std::int64_t magnitude = 0;
  for (const std::int8_t value : x) magnitude += exact::absolute(value);
  const std::int64_t mean = std::max<std::int64_t>(1, divide_floor(magnitude, width));
  for (std::int64_t n = 0; n < width; ++n) {
    y[n] = clip(divide(x[n] * vector_element(member, instruction.tensor, n), mean, instruction.rounding));
  }
}

// wide [N], scaled so that the largest magnitude is 127.
void rescale(const std::vector<std::int64_t>& wide, std::vector<std::int8_t>& y) {
  std::int64_t largest = 0;
  for (const std::int64_t value : wide) largest = std::max(largest, exact::absolute(value));
  for (std::size_t n = 0; n < wide.size(); ++n) y[n] = exact::rescale(wide[n], largest);
}

void rotate(const TokenView& at, const std::vector<std::int8_t>& x, std::vector<std::int8_t>& y) {
  const auto turns = exact::turns_of(at.position);
  std::vector<std::int64_t> turned(x.size());
  for (std::size_t n = 0; n < x.size(); n += 2) {
    const exact::Turn& turn = turns[n % exact::kHeadWidth / 2];
    const std::int64_t even = x[n], odd = x[n + 1];
    turned[n] = exact::drop_turn_fraction(even * turn.cosine - odd * turn.sine);
    turned[n + 1] = exact::drop_turn_fraction(even * turn.sine + odd * turn.cosine);
  }
  rescale(turned, y);
}

// One head: query, out [kHeadWidth]; keys, values the head's part of position 0, positions `step` apart.
void attend_head(const std::int8_t* query, const std::int8_t* keys, const std::int8_t* values,
                 std::size_t step, std::int64_t positions, std::int8_t* out) {
  std::vector<std::int64_t> scores;
  for (std::int64_t p = 0; p < positions; ++p) {
    std::int64_t score = 0;
    for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) score += query[n] * keys[p * step + n];
    scores.push_back(shift_floor(score, exact::kScoreShift));
  }
  const std::int64_t largest = *std::max_element(scores.begin(), scores.end());
  std::int64_t total = 0, sums[exact::kHeadWidth] = {};
  for (std::int64_t p = 0; p < positions; ++p) {
    const std::int64_t weight = exact::softmax_weight(largest - scores[p]);
    total += weight;
    for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) sums[n] += weight * values[p * step + n];
  }
  for (std::int64_t n = 0; n < exact::kHeadWidth; ++n) out[n] = clip(divide_floor(sums[n], total));
}

// The key and the value enter the caches first: a token sees itself.
void attend(const MemberView& member, int index, const TokenView& at, Slots& slots) {
  const Instruction& instruction = member.program.instructions[index];
  const std::vector<std::int8_t>& query = slots[instruction.in[0]];
  const std::size_t width = query.size();
  std::int8_t* keys = at.caches[index];
  std::int8_t* values = keys + member.program.window * width;
  std::copy_n(slots[instruction.in[1]].begin(), width, keys + at.position * width);
  std::copy_n(slots[instruction.in[2]].begin(), width, values + at.position * width);
  std::vector<std::int8_t>& out = slots[instruction.dst];
  for (std::size_t n = 0; n < width; n += exact::kHeadWidth) {
    attend_head(query.data() + n, keys + n, values + n, width, at.position + 1, out.data() + n);
  }
}

}  // namespace

std::vector<Factors> make_factors(const Program& program, const NoiseShape& shape, const NoiseSource& noise,
                                  std::uint32_t pair) {
  std::vector<Factors> all;
  for (std::size_t t = 0; t < program.tensors.size(); ++t) {
    const TensorSpec& tensor = program.tensors[t];
    const auto rows = static_cast<std::uint32_t>(tensor.rows);
    const auto inputs =
        static_cast<std::uint32_t>(tensor.kind == TensorKind::kMatrix ? tensor.cols : tensor.rows);
    Factors& factors = all.emplace_back();
    for (int j = 0; j < components(tensor, shape); ++j) {
      exact::NoiseKey key{.seed = noise.seed,
                          .epoch = noise.epoch,
                          .pair = pair,
                          .tensor = static_cast<std::uint16_t>(t),
                          .component = static_cast<std::uint8_t>(j)};
      factors.a.resize(factors.a.size() + rows);
      factors.b.resize(factors.b.size() + inputs);
      key.role = exact::NoiseRole::kA;
      exact::fill_noise(key, 0, rows, factors.a.data() + factors.a.size() - rows);
      key.role = exact::NoiseRole::kB;
      exact::fill_noise(key, 0, inputs, factors.b.data() + factors.b.size() - inputs);
    }
  }
  return all;
}

void execute(const MemberView& member, int index, const TokenView& at, Slots& slots) {
  const Instruction& instruction = member.program.instructions[index];
  const auto in = [&](int i) -> const std::vector<std::int8_t>& { return slots[instruction.in[i]]; };
  std::vector<std::int8_t>& out = slots[instruction.dst];
  const auto width = static_cast<std::int64_t>(out.size());
  switch (instruction.op) {
    case Op::embed:
      embed(member, instruction.tensor, at.token, out);
      return;
    case Op::matmul:
      matmul(member, instruction, in(0), out);
      return;
    case Op::norm:
      norm(member, instruction, in(0), out);
      return;
    case Op::add:
      for (std::int64_t n = 0; n < width; ++n) out[n] = clip(in(0)[n] + in(1)[n]);
      return;
    case Op::add_bias:
      for (std::int64_t n = 0; n < width; ++n) {
        out[n] = clip(in(0)[n] + in(1)[n] + vector_element(member, instruction.tensor, n));
      }
      return;
    case Op::gate:
      for (std::int64_t n = 0; n < width; ++n) out[n] = clip(shift_floor((in(0)[n] + 127) * in(1)[n], 8));
      return;
    case Op::mix:
      for (std::int64_t n = 0; n < width; ++n) {
        out[n] = clip(in(1)[n] + shift_floor((in(0)[n] + 127) * (in(2)[n] - in(1)[n]), 8));
      }
      return;
    case Op::relu:
      for (std::int64_t n = 0; n < width; ++n) out[n] = std::max<std::int8_t>(in(0)[n], 0);
      return;
    case Op::bias:
      for (std::int64_t n = 0; n < width; ++n) {
        out[n] = clip(in(0)[n] + vector_element(member, instruction.tensor, n));
      }
      return;
    case Op::gelu:
      for (std::int64_t n = 0; n < width; ++n) out[n] = exact::gelu(in(0)[n]);
      return;
    case Op::rescale:
      rescale({in(0).begin(), in(0).end()}, out);
      return;
    case Op::add_rescale: {
      std::vector<std::int64_t> sums(in(0).begin(), in(0).end());
      for (std::int64_t n = 0; n < width; ++n) sums[n] += in(1)[n];
      rescale(sums, out);
      return;
    }
    case Op::rotate:
      rotate(at, in(0), out);
      return;
    case Op::attend:
      attend(member, index, at, slots);
      return;
  }
}

void add_votes(const TensorSpec& tensor, const NoiseShape& shape, const Factors& factors, int fitness,
               std::vector<std::int32_t>& votes) {
  if (tensor.kind == TensorKind::kVector) {
    for (std::int64_t n = 0; n < tensor.rows; ++n) votes[n] += fitness * factors.a[n] * factors.b[n];
    return;
  }
  for (int j = 0; j < components(tensor, shape); ++j) {
    for (std::int64_t n = 0; n < tensor.rows; ++n) {
      const std::int32_t a = fitness * factors.a[j * tensor.rows + n];
      for (std::int64_t k = 0; k < tensor.cols; ++k) {
        votes[n * tensor.cols + k] += a * factors.b[j * tensor.cols + k];
      }
    }
  }
}

}  // namespace clutch::reference
