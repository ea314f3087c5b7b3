#include "evolution/population.h"

#include <fmt/format.h>

#include <limits>

#include "exact/noise.h"

namespace clutch {

Status verify_population(const Population& population, int max_fitness) {
  const std::uint32_t size = population.size, group = population.group_size;
  if (size < 2 || size % 2 != 0 || size > kMaxPopulation) {
    return fail("--population", fmt::format("{} is not an even number in 2..{}", size, kMaxPopulation),
                "members come in pairs, plus and minus one perturbation");
  }
  if (population.texts_per_pair < 1 || population.texts_per_pair > 2) {
    return fail("--texts-per-pair", fmt::format("{} is neither 1 nor 2", population.texts_per_pair),
                "a pair's two members read the same text, or each its own");
  }
  if (population.texts_per_pair == 1 && (group < 2 || group % 2 != 0 || size % group != 0)) {
    return fail("--group-size",
                fmt::format("{} is not even or does not divide the population of {}", group, size),
                "a group is the members that read the same text; 2 gives each pair its own");
  }
  if (population.texts_per_pair == 2 && (group < 2 || size / 2 % group != 0)) {
    return fail(
        "--group-size",
        fmt::format("{} is below 2 or does not divide half the population of {}", group, size),
        "plus members read one text and minus members another; --texts-per-pair 1 gives both the same");
  }
  const std::int64_t vote = std::int64_t{population.pairs()} * population.noise.rank * max_fitness *
                            exact::kNoiseMax * exact::kNoiseMax;
  if (vote > std::numeric_limits<std::int32_t>::max()) {
    return fail("--population",
                fmt::format("{} members of rank {} could sum a vote of {}, over 2^31 - 1", size,
                            population.noise.rank, vote),
                "use fewer members, a smaller --rank or --fitness sign");
  }
  return {};
}

}  // namespace clutch
