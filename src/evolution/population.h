// Who evaluates what: the population, its pairs, their text and their noise. A member is (pair, sign): member
// 2p sees the weights plus pair p's perturbation, member 2p+1 minus it.
#pragma once

#include <cstdint>

#include "base/status.h"
#include "program/verify.h"

namespace clutch {

struct Population {
  std::uint32_t size = 1024;         // members; even
  std::uint32_t group_size = 2;      // members that read the same stream of text
  std::uint32_t texts_per_pair = 1;  // 1: both members of a pair read the same stream; 2: one each
  std::uint32_t noise_reuse = 1;     // steps that share one noise; 0: one noise for the whole run
  std::uint64_t seed = 0;
  NoiseShape noise;

  std::uint32_t pairs() const { return size / 2; }
  // Pairs that read the same streams, one or two: a block of them in a row.
  std::uint32_t group_pairs() const { return texts_per_pair * group_size / 2; }
  std::uint32_t streams() const { return size / group_size; }
  // Of two texts a block's plus members read the first.
  std::uint32_t stream_of(std::uint32_t member) const {
    return member / 2 / group_pairs() * texts_per_pair + member % 2 * (texts_per_pair - 1);
  }
  std::uint32_t epoch(std::uint64_t step) const {
    return noise_reuse == 0 ? 0 : static_cast<std::uint32_t>(step / noise_reuse);
  }
};

constexpr std::uint32_t kMaxPopulation = 1u << 24;

// Sizes in range, whole groups (group_size even where a pair reads one text), and the votes of an update
// fitting 32 bits when no fitness exceeds max_fitness; or the flag at fault.
Status verify_population(const Population& population, int max_fitness);

}  // namespace clutch
