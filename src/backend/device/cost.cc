#include "backend/device/cost.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "backend/device/plan.h"

namespace clutch::device {
namespace {

// Of the loops in branches that an instruction does not take: where lanes are masked, each still runs once.
constexpr std::uint64_t kUntaken = 100;

std::uint64_t words(std::uint64_t elements) { return (elements + 3) / 4; }

// Counts include, for each loop, the iteration that ends it; inner loops over a word's four elements are
// counted whether or not a compiler unrolls them.
std::uint64_t cost_of_products(const DeviceTensor& t, std::uint64_t lanes) {
  const std::uint64_t share = lanes / kTile, components = t.components;
  const std::uint64_t slices = std::max<std::uint64_t>(1, share / components);
  const std::uint64_t projections =
      (slices * components / share + 1) * (t.stride / slices + 2) + (components / share + 2) * (slices + 2);
  const std::uint64_t items = words(t.rows) * (kTile / 2) / lanes + 1;
  return projections + items * (t.stride / 4 + 2 * components + 16);
}

std::uint64_t cost_of_attention(const DeviceInstruction& i, std::uint64_t window, std::uint64_t lanes) {
  const std::uint64_t share = lanes / kTile, heads = i.width / 64, each = words(i.width) / share + 2;
  return each + heads * (window / share + 2) * 18 + heads * (window / share + share + 4) +
         each * (window + 3);
}

std::uint64_t cost_of(const Plan& plan, const DeviceInstruction& i, std::uint64_t lanes) {
  const std::uint64_t share = lanes / kTile, each = words(i.width) / share + 2;
  switch (i.op) {
    case kOpMatmul:
      return kUntaken + cost_of_products(plan.tensors[i.tensor], lanes);
    case kOpEmbed:
      return kUntaken + each * (plan.tensors[i.tensor].components + 8);
    case kOpAttend:
      return kUntaken + cost_of_attention(i, plan.layout.window, lanes);
    case kOpNorm:
    case kOpRescale:
    case kOpAddRescale:
    case kOpRotate:
      return kUntaken + each * 30 + share;
    default:
      return kUntaken + each * 8;
  }
}

}  // namespace

std::uint64_t Cost::whole_token() const {
  return std::accumulate(instructions.begin(), instructions.end(), token);
}

std::uint64_t Cost::largest_part() const {
  return token + (instructions.empty() ? 0 : *std::max_element(instructions.begin(), instructions.end()));
}

Cost cost_of(const Plan& plan, std::uint32_t lanes) {
  Cost cost;
  for (const DeviceInstruction& i : plan.instructions) cost.instructions.push_back(cost_of(plan, i, lanes));
  const std::uint64_t share = lanes / kTile;
  for (const DeviceState& s : plan.states) cost.token += 2 * (s.words / share + 3);
  cost.token += (words(plan.layout.vocab) / share + 2) * 15 + 3 * share + kUntaken;
  return cost;
}

std::vector<Stretch> cut(const Cost& cost, std::uint32_t first, std::uint32_t count, std::uint64_t limit) {
  const auto all = static_cast<std::uint32_t>(cost.instructions.size());
  if (limit == 0) return {{first, count, 0, all}};
  std::vector<Stretch> stretches;
  const std::uint32_t last = first + count;
  if (const std::uint64_t fit = limit / cost.whole_token(); fit > 0) {
    for (std::uint32_t t = first; t < last;) {
      const auto tokens = static_cast<std::uint32_t>(std::min<std::uint64_t>(fit, last - t));
      stretches.push_back({t, tokens, 0, all});
      t += tokens;
    }
    return stretches;
  }
  for (std::uint32_t t = first; t < last; ++t) {
    for (std::uint32_t begin = 0; begin < all;) {
      std::uint64_t sum = cost.token;
      std::uint32_t end = begin;
      while (end < all && (end == begin || sum + cost.instructions[end] <= limit))
        sum += cost.instructions[end++];
      stretches.push_back({t, 1, begin, end});
      begin = end;
    }
  }
  return stretches;
}

std::uint32_t pairs_of_vote(const DeviceTensor& tensor, std::uint64_t items_each, std::uint64_t limit) {
  if (limit == 0) return std::numeric_limits<std::uint32_t>::max();
  constexpr std::uint64_t kRule = 400;  // of four words by the dearest rule
  const std::uint64_t room = limit / items_each;
  const std::uint64_t pairs = room > kRule ? (room - kRule) / (tensor.components + 2) : 0;
  return static_cast<std::uint32_t>(std::max<std::uint64_t>(pairs, 1));
}

}  // namespace clutch::device
