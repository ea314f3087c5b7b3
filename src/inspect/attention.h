// How widely attention looks: the entropy of its softmax's weights, per attend and head, from the queries and
// keys that a trace hands over. Scores and weights are the exact ones; the statistics are floating point.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/formats.h"
#include "program/program.h"

namespace clutch {

// Of one head, over all tokens that see two positions or more: the others have no choice.
struct HeadEntropy {
  std::uint64_t tokens = 0;
  double bits = 0;  // mean entropy -Σ w log2 w of the weights
  double most = 0;  // mean log2 of the positions seen, what weights all alike would have

  double share() const { return most > 0 ? bits / most : 0; }
};

// Watches one member's text pass, from a fresh state.
class AttentionWatch {
 public:
  explicit AttentionWatch(const Program& program);

  // A new text begins.
  void restart();

  // As TraceSink has it, with the input token: every result of every instruction, in order.
  void see(Token token, std::uint32_t instruction, std::span<const std::int8_t> values);

  // Of attend instruction `instruction`, by head; empty for other instructions.
  std::vector<HeadEntropy> heads(std::size_t instruction) const;

 private:
  struct Cache {
    std::vector<std::int8_t> keys;   // [positions of the window so far][width]
    std::vector<HeadEntropy> heads;  // sums, not means
  };
  const Program& program_;
  std::vector<std::vector<std::int8_t>> slots_;  // what each holds for this token; by slot
  std::vector<Cache> caches_;                    // by instruction
  std::int64_t count_ = 0;                       // positions in use
};

}  // namespace clutch
