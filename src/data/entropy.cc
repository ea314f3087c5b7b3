#include "data/entropy.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace clutch {
namespace {

// The entropy, in bits per value, of values >> shift, with `sorted` in ascending order: log2(n) - Σ
// c·log2(c)/n over the lengths c of the runs. A sort needs no table of vocab² counts.
double sorted_entropy(const std::vector<std::uint32_t>& sorted, int shift) {
  if (sorted.empty()) return 0;
  const double total = static_cast<double>(sorted.size());
  double sum = 0;
  for (std::size_t first = 0, end = 0; first < sorted.size(); first = end) {
    while (end < sorted.size() && sorted[end] >> shift == sorted[first] >> shift) ++end;
    const double run = static_cast<double>(end - first);
    sum += run * std::log2(run);
  }
  return std::log2(total) - sum / total;
}

}  // namespace

TextEntropy measure_entropy(std::span<const Token> tokens) {
  if (tokens.empty()) return {};
  std::vector<std::uint32_t> singles(tokens.begin(), tokens.end()), pairs(tokens.size() - 1);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i] = std::uint32_t{tokens[i]} << 16 | tokens[i + 1];
  std::sort(singles.begin(), singles.end());
  std::sort(pairs.begin(), pairs.end());
  // H(next | current) = H(current, next) - H(current); the current token is the upper half of a pair.
  return {sorted_entropy(singles, 0), sorted_entropy(pairs, 0) - sorted_entropy(pairs, 16)};
}

}  // namespace clutch
