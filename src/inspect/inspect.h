// What the numbers of a model look like: weights tensor by tensor and, on real text, what each instruction
// computes. And what seems wrong with them. Statistics are floating point: they decide nothing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "data/corpus.h"
#include "inspect/attention.h"

namespace clutch {

// How often each int8 value occurred. Of no values at all everything is 0.
class Numbers {
 public:
  void add(std::span<const std::int8_t> values);

  std::uint64_t count() const;
  int least() const;
  int most() const;
  double mean() const;
  double deviation() const;  // of the population: over count(), not count() - 1
  double entropy() const;    // in bits, 0 .. 8: -Σ p log2 p over the values
  double saturated() const;  // share at -127 or 127, where clipping ends
  double zeros() const;      // share at 0
  const std::array<std::uint64_t, 256>& histogram() const { return counts_; }  // by value + 128

 private:
  std::array<std::uint64_t, 256> counts_{};
};

struct TensorReport {
  std::string name;  // with its layer
  std::vector<std::int64_t> shape;
  Numbers numbers;
  std::optional<double> moved;  // share that differs from the start, where that is known
};

struct InstructionReport {
  std::string instruction;  // as print_instruction() has it
  std::string slot;         // its result's name
  Numbers numbers;
  std::vector<HeadEntropy> heads = {};  // of attend
};

struct Inspection {
  std::vector<TensorReport> tensors;
  std::vector<InstructionReport> instructions;
  std::vector<std::string> warnings;
};

// `start` has the weights that training began with, or is null.
std::vector<TensorReport> inspect_weights(const Program& program, const Weights& weights,
                                          const Weights* start);

// Reads about `tokens` (>= 1) of the corpus in windows of up to 256, spread over it, each from a fresh state,
// without noise. The backend has the program loaded. The corpus has at least 2 tokens. Fails where the
// backend does.
Result<std::vector<InstructionReport>> inspect_activations(Backend& backend, const Program& program,
                                                           const Corpus& corpus, std::uint64_t tokens);

// Words for what looks wrong: over a tenth at the ends of the range, results that hardly vary, tensors that
// training has never moved, heads that look at one position only or at all alike.
std::vector<std::string> warnings_of(const Inspection& inspection);

// Words for a step (counted from 1) at which no pair told its members apart.
std::string tied_warning(std::uint64_t step);

// On one line, without histograms: {"tensors": {name: {"mean", "deviation", "entropy", "saturated", "zero"}},
// "results": {the same by slot, and of attend "heads": [{"entropy", "most"}]}, "warnings": [...]}.
std::string to_json_line(const Inspection& inspection);

}  // namespace clutch
