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

// floor of the mean of `count` values; quotients and remainders are summed apart so that nothing overflows.
class Mean {
 public:
  explicit Mean(std::size_t count) : count_(static_cast<std::int64_t>(count)) {}
  void add(std::int64_t value) {
    const std::int64_t quotient = exact::divide_floor(value, count_);
    quotients_ += quotient;
    remainders_ += value - quotient * count_;
  }
  std::int64_t floor() const { return quotients_ + exact::divide_floor(remainders_, count_); }

 private:
  std::int64_t count_, quotients_ = 0, remainders_ = 0;
};

std::int64_t mean_magnitude(std::span<const std::int64_t> differences) {
  Mean mean(differences.size());
  for (const std::int64_t d : differences) mean.add(exact::absolute(d));
  return mean.floor();
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

std::vector<std::int64_t> comparable(std::span<const std::int64_t> losses, const Population& population) {
  check(losses.size() == population.size, "losses are of the whole population");
  std::vector<std::int64_t> result(losses.begin(), losses.end());
  if (population.texts_per_pair == 1) return result;
  std::vector<Mean> means(population.streams(), Mean(population.group_size));
  for (std::uint32_t m = 0; m < population.size; ++m) means[population.stream_of(m)].add(losses[m]);
  for (std::uint32_t m = 0; m < population.size; ++m) result[m] -= means[population.stream_of(m)].floor();
  return result;
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
