// Products of an instruction set where noise is hardest: projections at and beyond the ends of 16 bits, with
// every shift, against the portable kernels.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "backend/cpu/isa_list.h"
#include "backend/cpu/kernels.h"

namespace clutch {
namespace {

constexpr int kWidth = 64, kRows = 7;

// A row whose product with `b` is `target`: b holds 47 everywhere but 1 at the end.
std::array<std::int8_t, kWidth> row_for(std::int64_t target) {
  std::array<std::int8_t, kWidth> x{};
  std::int64_t quotient = target / 47;
  x[kWidth - 1] = static_cast<std::int8_t>(target % 47);
  for (int i = 0; i < kWidth - 1; ++i) {
    x[i] = static_cast<std::int8_t>(std::clamp<std::int64_t>(quotient, -127, 127));
    quotient -= x[i];
  }
  return x;
}

struct Product {
  int noise_shift = 7, sign = 1;
  bool one_member = true;  // of all rows, or each row another's
  std::vector<std::int8_t> x, weights, a, b;

  std::vector<std::int8_t> run(const cpu::Kernels& kernels) const {
    std::vector<std::byte> packed(kernels.packed_bytes(kWidth, kWidth) + 64), scratch(1 << 16);
    const auto aligned = [](std::vector<std::byte>& bytes) {
      return bytes.data() + (64 - reinterpret_cast<std::uintptr_t>(bytes.data()) % 64) % 64;
    };
    kernels.pack(weights.data(), kWidth, kWidth, 0, aligned(packed));
    EXPECT_LE(kernels.scratch_bytes(kWidth, kWidth, kRows, 1), scratch.size() - 64);
    // About as much as leaves a projection of 16 bits within a byte.
    const std::int64_t divisor = noise_shift < 13 ? 3 << (13 - noise_shift) : 3;
    const std::vector<cpu::MatrixNoise> noise(kRows, {a.data(), b.data(), sign});
    std::vector<std::int8_t> y(kRows * kWidth);
    kernels.matmul({.packed = aligned(packed),
                    .n = kWidth,
                    .k = kWidth,
                    .members = one_member ? 1 : kRows,
                    .tokens = one_member ? kRows : 1,
                    .x = {x.data(), kWidth, kWidth},
                    .y = {y.data(), kWidth, kWidth},
                    .divider = cpu::make_divider(divisor),
                    .noise = noise.data(),
                    .rank = 1,
                    .noise_shift = noise_shift,
                    .largest_sum = kWidth * 127 * 127 + (kWidth * 127 * 47 * 47 >> noise_shift),
                    .largest_projection = kWidth * 127 * 47,
                    .largest_perturbation = kWidth * 127 * 47 * 47,
                    .next = {nullptr, 0},
                    .scratch = aligned(scratch)});
    return y;
  }
};

// Rows of one projection, with small ones between; weights small, so that the perturbation decides.
Product product_of(std::int64_t projection, int noise_shift, int sign, bool one_member) {
  Product p{noise_shift, sign, one_member, {}, {}, {}, {}};
  for (int r = 0; r < kRows; ++r) {
    const auto row = row_for(r % 2 == 0 ? projection : r);
    p.x.insert(p.x.end(), row.begin(), row.end());
  }
  p.weights.assign(kWidth * kWidth, 0);
  for (int n = 0; n < kWidth; ++n) {
    p.weights[n * kWidth] = static_cast<std::int8_t>(n % 5 - 2);
    p.a.push_back(static_cast<std::int8_t>(n % 3 == 0 ? 47 - n : n % 3 == 1 ? -47 + n / 2 : n - 31));
  }
  p.b.assign(kWidth, 47);
  p.b.back() = 1;
  return p;
}

TEST(Products, ProjectionsAtTheEndsOf16Bits) {
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    if (*isa.missing() != 0) continue;
    for (const std::int64_t projection : {-370000, -65536, -65535, -32770, -32769, -32768, -32767, -1, 0,
                                          32766, 32767, 32768, 32769, 65535, 65536, 370000}) {
      for (int shift = 4; shift <= 18; ++shift) {
        for (const int sign : {1, -1}) {
          for (const bool one_member : {true, false}) {
            const Product product = product_of(projection, shift, sign, one_member);
            ASSERT_EQ(product.run(isa.kernels()), product.run(cpu::scalar_kernels()))
                << isa.name << ", x·b " << projection << ", shift " << shift << ", sign " << sign
                << (one_member ? ", one member" : ", a member a row");
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace clutch
