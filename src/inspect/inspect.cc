#include "inspect/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "program/print.h"

namespace clutch {
namespace {

constexpr std::uint64_t kWindow = 256;  // tokens
constexpr double kManySaturated = 0.1;  // a tenth
constexpr double kLittleEntropy = 0.5;  // bits
// Shares of a head's largest entropy. The softmax's weights are exp(-d/6) of scores with deviations of tens,
// so a head that looks at nothing in particular stands well between the two.
constexpr double kCollapsed = 0.02, kUniform = 0.98;

template <class F>
double average(const std::array<std::uint64_t, 256>& counts, std::uint64_t all, F f) {
  double sum = 0;
  for (int i = 0; i < 256; ++i) sum += static_cast<double>(counts[i]) * f(i - 128);
  return all == 0 ? 0 : sum / static_cast<double>(all);
}

double share_that_differs(const std::vector<std::int8_t>& a, const std::vector<std::int8_t>& b) {
  std::size_t differ = 0;
  for (std::size_t i = 0; i < a.size(); ++i) differ += a[i] != b[i];
  return a.empty() ? 0 : static_cast<double>(differ) / static_cast<double>(a.size());
}

double rounded(double x) { return std::round(x * 1e4) / 1e4; }

nlohmann::ordered_json summary(const Numbers& n) {
  return {{"mean", rounded(n.mean())},
          {"deviation", rounded(n.deviation())},
          {"entropy", rounded(n.entropy())},
          {"saturated", rounded(n.saturated())},
          {"zero", rounded(n.zeros())}};
}

nlohmann::ordered_json summary(const InstructionReport& report) {
  nlohmann::ordered_json entry = summary(report.numbers);
  for (const HeadEntropy& head : report.heads)
    entry["heads"].push_back({{"entropy", rounded(head.bits)}, {"most", rounded(head.most)}});
  return entry;
}

// Where heads all look at one position, or at all alike.
void warn_of_heads(const InstructionReport& report, std::vector<std::string>& warnings) {
  for (std::size_t h = 0; h < report.heads.size(); ++h) {
    const HeadEntropy& head = report.heads[h];
    if (head.tokens == 0 || (head.share() >= kCollapsed && head.share() <= kUniform)) continue;
    const bool collapsed = head.share() < kCollapsed;
    warnings.push_back(fmt::format("{}: head {} looks at {} ({:.2f} of at most {:.2f} bits of entropy)",
                                   report.slot, h, collapsed ? "one position only" : "all positions alike",
                                   head.bits, head.most));
  }
}

}  // namespace

void Numbers::add(std::span<const std::int8_t> values) {
  for (const std::int8_t v : values) ++counts_[v + 128];
}

std::uint64_t Numbers::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

int Numbers::least() const {
  for (int i = 0; i < 256; ++i) {
    if (counts_[i] != 0) return i - 128;
  }
  return 0;
}

int Numbers::most() const {
  for (int i = 255; i >= 0; --i) {
    if (counts_[i] != 0) return i - 128;
  }
  return 0;
}

double Numbers::mean() const {
  return average(counts_, count(), [](int v) { return static_cast<double>(v); });
}

double Numbers::deviation() const {
  const double middle = mean();
  return std::sqrt(average(counts_, count(), [&](int v) { return (v - middle) * (v - middle); }));
}

double Numbers::entropy() const {
  const auto all = static_cast<double>(count());
  double bits = 0;
  for (const std::uint64_t n : counts_) {
    const double p = n == 0 ? 1 : static_cast<double>(n) / all;
    bits -= p * std::log2(p);
  }
  return bits;
}

double Numbers::saturated() const {
  return average(counts_, count(), [](int v) { return v == -127 || v == 127 ? 1.0 : 0.0; });
}

double Numbers::zeros() const {
  return average(counts_, count(), [](int v) { return v == 0 ? 1.0 : 0.0; });
}

std::vector<TensorReport> inspect_weights(const Program& program, const Weights& weights,
                                          const Weights* start) {
  std::vector<TensorReport> reports;
  for (std::size_t t = 0; t < program.tensors.size(); ++t) {
    const TensorSpec& tensor = program.tensors[t];
    TensorReport report{.name = tensor.label(), .shape = {tensor.rows}, .numbers = {}, .moved = {}};
    if (tensor.kind == TensorKind::kMatrix) report.shape.push_back(tensor.cols);
    report.numbers.add(weights[t]);
    if (start != nullptr) report.moved = share_that_differs(weights[t], (*start)[t]);
    reports.push_back(std::move(report));
  }
  return reports;
}

Result<std::vector<InstructionReport>> inspect_activations(Backend& backend, const Program& program,
                                                           const Corpus& corpus, std::uint64_t tokens) {
  std::vector<InstructionReport> reports;
  for (std::size_t i = 0; i < program.instructions.size(); ++i) {
    reports.push_back({print_instruction(program, static_cast<int>(i)),
                       program.slots[program.instructions[i].dst].name,
                       {}});
  }
  const std::uint64_t predicted = corpus.tokens.size() - 1;
  const std::uint64_t length = std::min({kWindow, predicted, tokens}),
                      windows = (tokens + length - 1) / length;
  const std::vector<std::uint32_t> stream_of{0};
  AttentionWatch attention(program);
  for (std::uint64_t w = 0; w < windows; ++w) {
    auto states = backend.new_states(1);
    if (!states.ok()) return states.status();
    const std::uint64_t begin = (predicted - length) * w / std::max<std::uint64_t>(1, windows - 1);
    const std::span<const Token> text(corpus.tokens.data() + begin, length + 1);
    const TraceSink count = [&](std::uint32_t token, std::uint32_t instruction,
                                std::span<const std::int8_t> values) {
      reports[instruction].numbers.add(values);
      attention.see(text[token], instruction, values);
    };
    attention.restart();
    CLUTCH_RETURN_IF_ERROR(backend.trace({.noise = {},
                                          .length = static_cast<std::uint32_t>(length),
                                          .text = text,
                                          .stream_of = stream_of,
                                          .states = states.value().get()},
                                         0, count));
  }
  for (std::size_t i = 0; i < reports.size(); ++i) reports[i].heads = attention.heads(i);
  return reports;
}

std::vector<std::string> warnings_of(const Inspection& inspection) {
  std::vector<std::string> warnings;
  for (const TensorReport& t : inspection.tensors) {
    if (t.numbers.saturated() > kManySaturated) {
      warnings.push_back(fmt::format("{}: {:.0f} % of the weights are at -127 or 127 and cannot grow", t.name,
                                     100 * t.numbers.saturated()));
    }
    if (t.moved && *t.moved == 0) warnings.push_back(t.name + ": training has moved none of its weights");
  }
  for (const InstructionReport& i : inspection.instructions) {
    if (i.numbers.saturated() > kManySaturated) {
      warnings.push_back(
          fmt::format("{}: {:.0f} % of its results are clipped", i.slot, 100 * i.numbers.saturated()));
    }
    if (i.numbers.count() > 0 && i.numbers.entropy() < kLittleEntropy) {
      warnings.push_back(
          fmt::format("{}: its results hardly vary ({:.2f} bits of entropy)", i.slot, i.numbers.entropy()));
    }
    warn_of_heads(i, warnings);
  }
  return warnings;
}

std::string tied_warning(std::uint64_t step) {
  return fmt::format(
      "step {}: all pairs are tied, so nothing moves; a smaller --sigma-shift makes members differ more",
      step);
}

std::string to_json_line(const Inspection& inspection) {
  nlohmann::ordered_json tensors = nlohmann::ordered_json::object(), results = tensors;
  for (const TensorReport& t : inspection.tensors) tensors[t.name] = summary(t.numbers);
  for (const InstructionReport& i : inspection.instructions) results[i.slot] = summary(i);
  const nlohmann::ordered_json all = {
      {"tensors", tensors}, {"results", results}, {"warnings", inspection.warnings}};
  return all.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace clutch
