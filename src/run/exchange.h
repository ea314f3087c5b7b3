// What the ranks of a cluster tell each other at every step, and how they agree.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "evolution/fitness.h"
#include "evolution/population.h"
#include "run/cluster.h"

namespace clutch {

// This rank's part of a step.
struct StepPart {
  std::vector<std::int64_t> losses;  // [2 * pairs of this rank's share]
  std::uint64_t digest = 0;          // of this rank's weights before the step
  bool stop = false;                 // this rank was asked to stop after it
  std::uint64_t core_ns = 0;         // processor time of this rank's training so far
};

// The whole population's.
struct StepOutcome {
  std::int64_t loss = 0;             // sum of all members' losses
  std::vector<std::int8_t> fitness;  // [pairs]
  bool stop = false;                 // some rank was asked to stop
  int odd_rank = -1;                 // a rank whose weights differ from rank 0's; -1 where all agree
  std::uint64_t bytes = 0;           // that this rank sent
  std::uint64_t core_ns = 0;         // of all ranks
};

// Exchanges a step's parts of the whole population. Where a pair reads one text, shape sign travels packed,
// five pairs a byte, and other shapes need every pair's difference of losses, 8 bytes each; where it reads
// two, every loss travels, 16 bytes a pair. `trouble` is this rank's own failure, if any; then, or if another
// rank has one, all ranks return it.
Result<StepOutcome> exchange_step(Cluster& cluster, FitnessShape shape, const Population& population,
                                  const StepPart& part, const Status& trouble);

// All ranks return the first failure of any of them, naming its rank; or success where all succeeded.
Status agree(Cluster& cluster, const Status& status);

// Rank 0's bytes, on every rank.
Result<std::string> from_rank_0(Cluster& cluster, std::string bytes);

// Every rank passes its own bytes; fails on all ranks, naming `what` and the first rank whose bytes are not
// rank 0's.
Status require_same(Cluster& cluster, const std::string& what, const std::string& bytes,
                    const std::string& hint);

}  // namespace clutch
