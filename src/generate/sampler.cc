#include "generate/sampler.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "exact/loss.h"
#include "exact/noise.h"

namespace clutch {
namespace {

struct Candidate {
  std::uint16_t token;
  std::uint32_t distance;  // below the largest logit
};

// All tokens, likeliest first, ties by token.
std::vector<Candidate> candidates(std::span<const std::int8_t> logits) {
  const int max = *std::max_element(logits.begin(), logits.end());
  std::vector<Candidate> list;
  for (std::size_t v = 0; v < logits.size(); ++v) {
    list.push_back({static_cast<std::uint16_t>(v), static_cast<std::uint32_t>(max - logits[v])});
  }
  std::stable_sort(list.begin(), list.end(),
                   [](const Candidate& a, const Candidate& b) { return a.distance < b.distance; });
  return list;
}

void keep_likely(std::vector<Candidate>& list, const Sampling& sampling) {
  if (sampling.top_k > 0 && sampling.top_k < list.size()) list.resize(sampling.top_k);
  const auto weight = [](const Candidate& c) { return std::uint64_t{exact::exp2_negative(c.distance)}; };

  std::uint64_t total = 0, sum = 0;
  for (const Candidate& c : list) total += weight(c);
  std::size_t kept = 0;
  do {
    sum += weight(list[kept++]);
  } while (kept < list.size() && sum << 16 < sampling.top_p_q16 * total);
  list.resize(kept);

  const std::uint64_t first = weight(list.front());
  while (list.size() > 1 && weight(list.back()) << 16 < sampling.min_p_q16 * first) list.pop_back();
}

std::uint64_t weight_at_temperature(std::uint32_t distance, std::uint32_t temperature_q16) {
  const std::uint64_t x = (std::uint64_t{distance} << 28) / temperature_q16;
  return exact::exp2_negative_q16(static_cast<std::uint32_t>(std::min<std::uint64_t>(x, UINT32_MAX)));
}

}  // namespace

std::uint16_t sample(std::span<const std::int8_t> logits, const Sampling& sampling, std::uint32_t position) {
  std::vector<Candidate> list = candidates(logits);
  if (sampling.temperature_q16 == 0) return list.front().token;
  keep_likely(list, sampling);
  std::uint64_t total = 0;
  for (const Candidate& c : list) total += weight_at_temperature(c.distance, sampling.temperature_q16);
  const exact::PhiloxBlock block =
      exact::noise_block({.seed = sampling.seed, .epoch = position, .role = exact::NoiseRole::kSample}, 0);
  const std::uint64_t random = block[0] | std::uint64_t{block[1]} << 32;
  const auto target = static_cast<std::uint64_t>(static_cast<unsigned __int128>(random) * total >> 64);
  std::uint64_t sum = 0;
  for (const Candidate& c : list) {
    sum += weight_at_temperature(c.distance, sampling.temperature_q16);
    if (sum > target) return c.token;
  }
  return list.back().token;  // not reached: target < total
}

}  // namespace clutch
