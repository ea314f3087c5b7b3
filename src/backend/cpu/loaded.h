// A program made ready for the CPU: schedule, weights as the kernels want them, and where noise lives. Shared
// by all threads; changed only by load and update.
#pragma once

#include <cstdint>
#include <vector>

#include "backend/backend.h"
#include "backend/cpu/kernels.h"
#include "backend/cpu/schedule.h"
#include "base/aligned.h"

namespace clutch::cpu {

// Where one tensor's noise lies in a pair's block of noise_bytes, and its perturbed vector in a member's
// block.
struct NoisePlace {
  std::int64_t a = 0,
               b = 0;       // matrices: [rank][padded rows], [rank][padded cols]; vectors: [padded rows] each
  std::int64_t vector = 0;  // vectors: [padded rows] of a member
};

struct LoadedModel {
  LoadedModel(const Program& the_program, const NoiseShape& the_shape, std::vector<Bounds> the_bounds,
              const Weights& the_weights, const Kernels& the_kernels);

  // Packs rows [band · kPad, (band + 1) · kPad) of a tensor's weights again, after they changed.
  void pack(int tensor, std::int64_t band);

  const Program& program;
  const NoiseShape shape;
  const std::vector<Bounds> bounds;  // by instruction
  const Kernels& kernels;
  const Schedule schedule;
  const SplitTurns* const turns;            // by position; null without a window
  std::vector<Divider> dividers;  // by instruction
  Weights weights;                // row-major, not padded
  exact::Rule rule = exact::Rule::threshold;
  RuleState rule_state;                     // as the weights lie
  AlignedVector<std::byte> packed_weights;  // one block for all, so that huge pages fit
  std::vector<std::byte*> packed;           // by tensor; null where no product uses it
  std::vector<AlignedVector<std::int8_t>>
      plain;                               // by tensor: vectors and embeddings, row-major, padded; else empty
  std::vector<Ahead> next_packed;          // by instruction: the first band of the next product's weights
  std::vector<NoisePlace> places;          // by tensor
  std::int64_t noise_bytes = 0;            // of a pair
  std::int64_t vector_bytes = 0;           // of a member
  std::vector<std::int64_t> state_places;  // by state, in a member's states
  std::int64_t count_place = 0;            // of the count of positions, there too, where there is a window
  std::vector<std::int64_t> cache_places;  // by instruction, there too: attend's keys, then its values
};

// Fills a pair's noise [noise_bytes]; the padding in between must be zero already and stays so.
void fill_pair_noise(const LoadedModel& model, const NoiseSource& noise, std::uint32_t pair,
                     std::int8_t* out);

}  // namespace clutch::cpu
