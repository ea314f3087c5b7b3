#include "evolution/fitness.h"

#include <algorithm>

#include "base/check.h"
#include "exact/arithmetic.h"

namespace clutch {
namespace {

constexpr struct {
  std::string_view name;
  int max;
} kShapes[] = {
#define CLUTCH_FITNESS_ROW(name, max, formula) {#name, max},
    CLUTCH_FITNESS_SHAPES(CLUTCH_FITNESS_ROW)
#undef CLUTCH_FITNESS_ROW
};

// floor of the mean of |d|; quotients and remainders are summed apart so that nothing overflows.
std::int64_t mean_magnitude(std::span<const std::int64_t> differences) {
  const auto count = static_cast<std::int64_t>(differences.size());
  std::int64_t quotients = 0, remainders = 0;
  for (const std::int64_t d : differences) {
    quotients += exact::divide_floor(exact::absolute(d), count);
    remainders += exact::absolute(d) - exact::divide_floor(exact::absolute(d), count) * count;
  }
  return quotients + exact::divide_floor(remainders, count);
}

constexpr std::int64_t kMeanFitness = 32;  // of a pair whose difference is the mean one

// scaled: |d| as a multiple of the mean, times kMeanFitness.
std::int64_t size_of(FitnessShape shape, std::int64_t scaled) {
  switch (shape) {
    case FitnessShape::sign:
      return 1;
    case FitnessShape::scaled:
    case FitnessShape::clipped:
    case FitnessShape::grouped:
      return std::min<std::int64_t>(max_fitness(shape), scaled);
    case FitnessShape::strong:
      return 2 * scaled >= kMeanFitness ? 1 : 0;
  }
  return 0;
}

}  // namespace

std::string_view name(FitnessShape shape) { return kShapes[static_cast<int>(shape)].name; }
int max_fitness(FitnessShape shape) { return kShapes[static_cast<int>(shape)].max; }

std::optional<FitnessShape> fitness_shape(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kShapes); ++i) {
    if (kShapes[i].name == name) return static_cast<FitnessShape>(i);
  }
  return std::nullopt;
}

std::vector<std::string_view> fitness_shape_names() {
  std::vector<std::string_view> names;
  for (const auto& shape : kShapes) names.push_back(shape.name);
  return names;
}

std::vector<std::int8_t> fitness_of(FitnessShape shape, std::span<const std::int64_t> losses,
                                    std::uint32_t group_pairs) {
  check(losses.size() % 2 == 0, "losses come in pairs");
  std::vector<std::int64_t> differences;
  for (std::size_t m = 0; m < losses.size(); m += 2) differences.push_back(losses[m + 1] - losses[m]);
  const bool grouped = shape == FitnessShape::grouped;
  const std::size_t together = grouped ? group_pairs : differences.size();  // measured by one mean
  check(!grouped || (group_pairs > 0 && differences.size() % group_pairs == 0), "groups are whole");
  std::vector<std::int8_t> fitness;
  for (std::size_t first = 0; first < differences.size(); first += together) {
    const std::span<const std::int64_t> some(differences.data() + first, together);
    const std::int64_t mean =
        shape == FitnessShape::sign ? 1 : std::max<std::int64_t>(1, mean_magnitude(some));
    for (const std::int64_t d : some) {
      const std::int64_t size = size_of(shape, exact::divide_floor(kMeanFitness * exact::absolute(d), mean));
      fitness.push_back(static_cast<std::int8_t>(exact::sign(d) * size));
    }
  }
  return fitness;
}

}  // namespace clutch
