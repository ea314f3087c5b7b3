#include "parity/explain.h"

#include <fmt/format.h>

#include <algorithm>

#include "exact/arithmetic.h"
#include "exact/attention.h"
#include "exact/noise.h"
#include "program/print.h"

namespace clutch::parity {
namespace {

constexpr std::size_t kShown = 16;  // numbers of a row

std::int64_t noise_value(const NoiseSource& noise, std::uint32_t pair, int tensor, int component,
                         exact::NoiseRole role, std::int64_t index) {
  std::int8_t value = 0;
  exact::fill_noise({.seed = noise.seed,
                     .epoch = noise.epoch,
                     .pair = pair,
                     .tensor = static_cast<std::uint16_t>(tensor),
                     .component = static_cast<std::uint8_t>(component),
                     .role = role},
                    static_cast<std::uint32_t>(index), 1, &value);
  return value;
}

std::string row_words(const std::int8_t* values, std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < std::min(count, kShown); ++i) text += fmt::format(" {}", values[i]);
  return text + (count > kShown ? " ..." : "");
}

// What one instruction's operands are for one element.
class Explanation {
 public:
  Explanation(const Traced& what, const NoiseShape& shape, const Weights& weights, const Slots2& slots,
              const Difference& at)
      : what_(what),
        program_(what.program),
        shape_(shape),
        weights_(weights),
        slots_(slots),
        at_(at),
        instruction_(program_.instructions[at.instruction]),
        text_(what.evaluation.text.data() +
              std::size_t{what.evaluation.stream_of[what.member]} * (what.evaluation.length + 1)) {}

  std::string words() {
    static constexpr char kNames[] = {'x', 'y', 'z'};
    for (int k = 0; k < info(instruction_.op).slots_read; ++k) {
      x_[k] = value_of(instruction_.in[k]);
      const Slot& slot = program_.slots[instruction_.in[k]];
      std::int64_t sum = 0;
      for (const std::int8_t v : x_[k]) sum += v;
      text_out_ += fmt::format("  {} = %{} {}[{}]:{}; sum {}", kNames[k], instruction_.in[k], slot.name,
                               slot.width, row_words(x_[k].data(), x_[k].size()), sum);
      if (at_.element < slot.width)
        text_out_ += fmt::format("; {}[{}] = {}", kNames[k], at_.element, x_[k][at_.element]);
      text_out_ += '\n';
    }
    add_formula();
    return text_out_;
  }

 private:
  template <class... Values>
  void line(fmt::format_string<Values...> format, Values&&... values) {
    text_out_ += "  " + fmt::format(format, std::forward<Values>(values)...) + '\n';
  }

  void add_formula() {
    switch (instruction_.op) {
      case Op::embed: {
        const std::int64_t token = text_[at_.token];
        const TensorSpec& spec = program_.tensors[instruction_.tensor];
        std::int64_t product = 0;
        for (int j = 0; j < shape_.rank; ++j) product += noise_a(j, token) * noise_b(j, at_.element);
        line("W[token {}][{}] = {}", token, at_.element, weight(token * spec.cols + at_.element));
        add_perturbation(product);
        return;
      }
      case Op::matmul:
        add_product();
        return;
      case Op::norm: {
        std::int64_t magnitude = 0;
        for (const std::int8_t v : x_[0]) magnitude += exact::absolute(v);
        line("sum_k abs(x[k]) = {} over {} elements", magnitude, x_[0].size());
        add_vector();
        return;
      }
      case Op::add_bias:
      case Op::bias:
        add_vector();
        return;
      case Op::rescale:
      case Op::add_rescale: {
        std::int64_t largest = 0;
        for (std::size_t n = 0; n < x_[0].size(); ++n)
          largest =
              std::max(largest, exact::absolute(std::int64_t{x_[0][n]} + (x_[1].empty() ? 0 : x_[1][n])));
        line("largest magnitude before rescaling: {}", largest);
        return;
      }
      case Op::rotate:
        line("position {}; element {} of its head, turned with element {}", position(),
             at_.element % exact::kHeadWidth, (at_.element % exact::kHeadWidth) ^ 1);
        return;
      case Op::attend:
        line("position {} of a window of {}; head {}, its element {}", position(), program_.window,
             at_.element / exact::kHeadWidth, at_.element % exact::kHeadWidth);
        return;
      case Op::add:
      case Op::gate:
      case Op::mix:
      case Op::relu:
      case Op::gelu:
        return;
    }
  }

  void add_product() {
    const TensorSpec& spec = program_.tensors[instruction_.tensor];
    const std::int8_t* row = weights_[instruction_.tensor].data() + at_.element * spec.cols;
    std::int64_t sum = 0, product = 0;
    for (std::int64_t k = 0; k < spec.cols; ++k) sum += x_[0][k] * row[k];
    line("W[{}]:{}", at_.element, row_words(row, static_cast<std::size_t>(spec.cols)));
    line("sum_k x[k] * W[{}][k] = {}", at_.element, sum);
    for (int j = 0; what_.evaluation.noise && j < shape_.rank; ++j) {
      std::int64_t projection = 0;
      for (std::int64_t k = 0; k < spec.cols; ++k) projection += x_[0][k] * noise_b(j, k);
      line("component {}: x*B = {}, A[{}] = {}", j, projection, at_.element, noise_a(j, at_.element));
      product += projection * noise_a(j, at_.element);
    }
    add_perturbation(product);
  }

  void add_vector() {
    line("w[{}] = {}", at_.element, weight(at_.element));
    add_perturbation(noise_a(0, at_.element) * noise_b(0, at_.element));
  }

  void add_perturbation(std::int64_t product) {
    if (!what_.evaluation.noise) return;
    const int shift = kNoiseFractionBits + shape_.sigma_shift;
    line("perturbation: {}({} >> {}) = {}", sign() > 0 ? '+' : '-', product, shift,
         sign() * exact::shift_floor(product, shift));
  }

  // A slot that no instruction writes is a state: what was written at the token before.
  std::vector<std::int8_t> value_of(int slot) const {
    if (!slots_.now[slot].empty()) return slots_.now[slot];
    const auto width = static_cast<std::size_t>(program_.slots[slot].width);
    std::int64_t offset = what_.member * program_.state_width();
    for (const State& state : program_.states) {
      if (state.read != slot) {
        offset += program_.slots[state.read].width;
        continue;
      }
      if (text_[at_.token] == 0) break;
      if (at_.token > 0) return slots_.before[state.write];
      if (what_.states.empty()) break;
      const auto first = what_.states.begin() + offset;
      return {first, first + static_cast<std::ptrdiff_t>(width)};
    }
    return std::vector<std::int8_t>(width);
  }

  std::int64_t position() const {
    std::int64_t count = 0, place = what_.member * program_.state_width();
    for (const State& state : program_.states) place += program_.slots[state.read].width;
    if (!what_.states.empty()) count = read_count(what_.states.data() + place, program_.window);
    std::int64_t at = 0;
    for (std::uint32_t t = 0; t <= at_.token; ++t) {
      at = next_position(count, text_[t], program_.window);
      count = at + 1;
    }
    return at;
  }

  std::int64_t weight(std::int64_t index) const { return weights_[instruction_.tensor][index]; }
  int sign() const { return what_.member % 2 == 0 ? 1 : -1; }
  std::int64_t noise(exact::NoiseRole role, int component, std::int64_t index) const {
    if (!what_.evaluation.noise) return 0;
    const NoiseSource& source = *what_.evaluation.noise;
    return noise_value(source, source.first_pair + what_.member / 2, instruction_.tensor, component, role,
                       index);
  }
  std::int64_t noise_a(int j, std::int64_t n) const { return noise(exact::NoiseRole::kA, j, n); }
  std::int64_t noise_b(int j, std::int64_t k) const { return noise(exact::NoiseRole::kB, j, k); }

  const Traced& what_;
  const Program& program_;
  const NoiseShape& shape_;
  const Weights& weights_;
  const Slots2& slots_;
  const Difference& at_;
  const Instruction& instruction_;
  const std::uint16_t* text_;      // of the member
  std::vector<std::int8_t> x_[3];  // the slots read
  std::string text_out_;
};

}  // namespace

std::string explain_instruction(const Traced& what, const NoiseShape& shape, const Weights& weights,
                                const Slots2& slots, const Difference& at) {
  return Explanation(what, shape, weights, slots, at).words();
}

std::string explain_weight(const Program& program, const NoiseShape& shape, const Update& update,
                           const WeightChange& change, const std::string& name_a, const std::string& name_b) {
  const TensorSpec& spec = program.tensors[change.tensor];
  const bool matrix = spec.kind == TensorKind::kMatrix;
  const std::int64_t n = change.element / spec.cols, k = matrix ? change.element % spec.cols : n;
  const exact::RuleStep& step = matrix ? update.matrix : update.vector;
  std::int64_t vote = 0;
  for (std::size_t p = 0; p < update.fitness.size(); ++p) {
    if (update.fitness[p] == 0) continue;
    std::int64_t product = 0;
    for (int j = 0; j < (matrix ? shape.rank : 1); ++j) {
      const auto pair = static_cast<std::uint32_t>(p);
      product += noise_value(update.noise, pair, change.tensor, j, exact::NoiseRole::kA, n) *
                 noise_value(update.noise, pair, change.tensor, j, exact::NoiseRole::kB, k);
    }
    vote += update.fitness[p] * product;
  }
  const exact::RuleEntry& rule = exact::entry(step.rule);
  std::int32_t state[exact::kMaxRuleStates] = {};
  std::copy(change.remembered.begin(), change.remembered.end(), state);
  const std::int32_t right =
      exact::apply_rule(step.rule, step, static_cast<std::int32_t>(vote), state, change.before);

  std::string text = fmt::format("tensor    {}", spec.label());
  if (spec.layer != TensorSpec::kUnstacked) text += fmt::format(", layer {}", spec.layer);
  text += matrix ? fmt::format(", element [{}][{}]\n", n, k) : fmt::format(", element [{}]\n", n);
  text += fmt::format("vote      {} of {} pairs, by rule {}", vote, update.fitness.size(), rule.name);
  text += step.rule == exact::Rule::threshold ? fmt::format(" at {}\n", step.threshold) : "\n";
  text += fmt::format("weight    {} before; {} by {}, {} by {}; the rule gives {}\n", change.before, change.a,
                      name_a, change.b, name_b, right);
  for (int s = 0; s < rule.state_count(); ++s) {
    text += fmt::format("{:9} {} before; {} by {}, {} by {}; the rule gives {}\n", rule.states[s].name,
                        change.remembered[s], change.remembered_a[s], name_a, change.remembered_b[s], name_b,
                        state[s]);
  }
  return text;
}

std::string member_words(const Evaluation& evaluation, std::uint32_t member) {
  if (!evaluation.noise) return fmt::format("member {} (without noise)", member);
  return fmt::format("member {} (pair {}, {}; noise of seed {}, epoch {})", member,
                     evaluation.noise->first_pair + member / 2, member % 2 == 0 ? "plus" : "minus",
                     evaluation.noise->seed, evaluation.noise->epoch);
}

}  // namespace clutch::parity
