// From losses to fitness: one small number per pair, positive where the plus member did better.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "evolution/population.h"

namespace clutch {

// X(name, largest magnitude, formula for d = loss(minus) - loss(plus), m = max(1, floor(mean |d| over
// all pairs)), g = the same over the pairs that read the same text or texts as the pair)
#define CLUTCH_FITNESS_SHAPES(X)                            \
  X(sign, 1, "sign(d)")                                     \
  X(scaled, 127, "sign(d) * min(127, 32 * |d| // m)")       \
  X(clipped, 32, "sign(d) * min(32, 32 * |d| // m)")        \
  X(strong, 1, "sign(d) where 32 * |d| // m >= 16, else 0") \
  X(grouped, 127, "sign(d) * min(127, 32 * |d| // g)")

enum class FitnessShape : std::uint8_t {
#define CLUTCH_FITNESS_ENUM(name, ...) name,
  CLUTCH_FITNESS_SHAPES(CLUTCH_FITNESS_ENUM)
#undef CLUTCH_FITNESS_ENUM
};

std::string_view name(FitnessShape shape);
int max_fitness(FitnessShape shape);
std::optional<FitnessShape> fitness_shape(std::string_view name);  // nothing where the name is unknown
std::vector<std::string_view> fitness_shape_names();

constexpr std::int64_t kMaxLoss = std::int64_t{1} << 57;

// What losses say of their members: where a pair reads two texts, each less the floor of the mean of all
// losses on its text, since one text is harder than another. Where a pair reads one, the losses as they are:
// what its members share cancels in their difference. losses [population.size], in [0, kMaxLoss).
std::vector<std::int64_t> comparable(std::span<const std::int64_t> losses, const Population& population);

// Comparable losses [2 * pairs] in units of 2^-20 bit, members 2p and 2p+1 being pair p, of which each group
// has group_pairs in a row; returns fitness [pairs]. Only `grouped` looks at groups, and wants whole ones.
// Each is below kMaxLoss in magnitude, so |d| < 2^58 and 32 |d| fits; sums are of quotients and remainders
// apart (exactly), so none overflows.
std::vector<std::int8_t> fitness_of(FitnessShape shape, std::span<const std::int64_t> losses,
                                    std::uint32_t group_pairs);

}  // namespace clutch
