#include "inspect/attention.h"

#include <algorithm>
#include <cmath>

#include "exact/attention.h"

namespace clutch {
namespace {

// The entropy in bits of a head's weights over the keys that lie `step` apart (docs/NUMERICS.md: attend).
double entropy(const std::int8_t* query, const std::int8_t* keys, std::size_t step, std::int64_t positions) {
  std::vector<std::int64_t> scores;
  for (std::int64_t p = 0; p < positions; ++p) {
    std::int64_t score = 0;
    for (std::int64_t n = 0; n < exact::kHeadWidth; ++n)
      score += query[n] * keys[static_cast<std::size_t>(p) * step + static_cast<std::size_t>(n)];
    scores.push_back(exact::shift_floor(score, exact::kScoreShift));
  }
  const std::int64_t largest = *std::max_element(scores.begin(), scores.end());
  double total = 0, weighted = 0;  // Σ e, Σ e log2 e
  for (const std::int64_t score : scores) {
    const auto e = static_cast<double>(exact::softmax_weight(largest - score));
    if (e == 0) continue;
    total += e;
    weighted += e * std::log2(e);
  }
  return std::max(0.0, std::log2(total) - weighted / total);
}

}  // namespace

AttentionWatch::AttentionWatch(const Program& program)
    : program_(program), slots_(program.slots.size()), caches_(program.instructions.size()) {
  for (std::size_t i = 0; i < caches_.size(); ++i) {
    const Instruction& instruction = program.instructions[i];
    if (instruction.op != Op::attend) continue;
    caches_[i].heads.resize(
        static_cast<std::size_t>(program.slots[instruction.dst].width / exact::kHeadWidth));
  }
}

void AttentionWatch::restart() { count_ = 0; }

void AttentionWatch::see(Token token, std::uint32_t instruction, std::span<const std::int8_t> values) {
  if (program_.window == 0) return;
  if (instruction == 0) count_ = next_position(count_, token, program_.window) + 1;
  const Instruction& now = program_.instructions[instruction];
  slots_[now.dst].assign(values.begin(), values.end());
  if (now.op != Op::attend) return;
  Cache& cache = caches_[instruction];
  const std::vector<std::int8_t>&query = slots_[now.in[0]], &key = slots_[now.in[1]];
  const std::size_t width = query.size();
  cache.keys.resize(static_cast<std::size_t>(count_ - 1) * width);
  cache.keys.insert(cache.keys.end(), key.begin(), key.end());
  if (count_ < 2) return;
  for (std::size_t h = 0; h < cache.heads.size(); ++h) {
    const std::size_t n = h * exact::kHeadWidth;
    HeadEntropy& head = cache.heads[h];
    ++head.tokens;
    head.bits += entropy(query.data() + n, cache.keys.data() + n, width, count_);
    head.most += std::log2(static_cast<double>(count_));
  }
}

std::vector<HeadEntropy> AttentionWatch::heads(std::size_t instruction) const {
  std::vector<HeadEntropy> means = caches_[instruction].heads;
  for (HeadEntropy& head : means) {
    const auto tokens = static_cast<double>(std::max<std::uint64_t>(1, head.tokens));
    head.bits /= tokens;
    head.most /= tokens;
  }
  return means;
}

}  // namespace clutch
