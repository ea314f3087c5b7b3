#include "bench/neighbours.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>

namespace clutch::bench {
namespace {

constexpr int kChunks = 150;  // each of a chain and of additions, 20 microseconds together

std::atomic<double> most{0};

// The compiler may not know what is in x from here on, nor leave out what made it.
void keep(std::uint64_t& x) { asm volatile("" : "+r"(x)); }

double seconds_of(auto work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

// 10,000 multiplications, each of the last one's product.
void multiply_in_a_chain() {
  std::uint64_t x = 3, factor = 0x9E3779B97F4A7C15u;
  keep(factor);
  for (int i = 0; i < 10'000; ++i) {
    x *= factor;
    keep(x);
  }
}

// 64,000 additions in eight chains.
void add() {
  std::uint64_t a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0;
  for (int i = 0; i < 2'000; ++i) {
    for (int j = 0; j < 4; ++j) {
      for (std::uint64_t* sum : {&a, &b, &c, &d, &e, &f, &g, &h}) {
        ++*sum;
        keep(*sum);
      }
    }
  }
}

}  // namespace

double additions_per_cycle() {
  std::array<double, kChunks> chains;
  double adding = 0;
  for (double& chain : chains) {
    chain = seconds_of(multiply_in_a_chain);
    adding += seconds_of(add);
  }
  // One of the shortest: interrupted chains, and those that waited for a neighbour's multiplications, are
  // longer.
  std::nth_element(chains.begin(), chains.begin() + kChunks / 10, chains.end());
  const double cycle = chains[kChunks / 10] / (10'000 * 3);
  const double rate = 64'000.0 * kChunks / (adding / cycle);
  for (double before = most; rate > before && !most.compare_exchange_weak(before, rate);) {
  }
  return rate;
}

std::vector<bool> undisturbed(const std::vector<double>& measured) {
  std::vector<bool> alone;
  for (const double rate : measured) alone.push_back(rate >= 0.95 * most);
  return alone;
}

}  // namespace clutch::bench
