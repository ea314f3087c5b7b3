// An audit: evaluates some of a run's work again and compares with the log, to the bit. It proves that the
// logged fitness follows from the configuration, the text and the start; it says nothing about whether the
// text was good.
#pragma once

#include <cstdint>
#include <vector>

#include "data/corpus.h"
#include "run/replay.h"

namespace clutch {

// One piece of work: pair `pair` at step `step` (counted from 0).
struct AuditSample {
  std::uint64_t step = 0;
  std::uint32_t pair = 0;
  auto operator<=>(const AuditSample&) const = default;
};

// `count` pieces drawn at random (with repetition) from all pairs of all steps of the log; a seed always
// draws the same.
std::vector<AuditSample> draw_samples(const Recording& recording, std::uint64_t count, std::uint64_t seed);

// Every pair of every step.
std::vector<AuditSample> all_samples(const Recording& recording);

struct AuditFinding {
  AuditSample sample;
  int logged = 0, found = 0;  // fitness
};

struct AuditLoss {
  std::uint64_t step = 0;
  std::int64_t logged = 0, found = 0;  // sums over the population
};

struct AuditResult {
  std::uint64_t compared = 0;         // pieces
  std::uint64_t evaluated_pairs = 0;  // windows of pairs evaluated to get there, states on the way included
  // Disagreements, up to the end of the stretch between two recorded points in which the first was found.
  std::vector<AuditFinding> findings;
  std::vector<AuditLoss> losses;  // sums that disagree, of the steps where all pairs were evaluated
};

// Rebuilds the weights of each step from the log (checking digests) and the sampled pairs' states by
// evaluating them from the nearest recorded point on, and compares each sampled fitness. Where a fitness
// depends on the whole population (every shape but sign), or every pair is asked for, all pairs are
// evaluated. `corpus` is the training text. Fails where the weights do not follow from the log, naming the
// step.
Result<AuditResult> audit(const Recording& recording, const Program& program, const Corpus& corpus,
                          std::vector<AuditSample> samples, Backend& backend, const ReplayProgress& progress);

}  // namespace clutch
