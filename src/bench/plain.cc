#include "bench/plain.h"

// The compiler may use what the processor has, or the comparison would be too easy.
#if defined(__x86_64__)
#define CLUTCH_BEST_TARGET __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLUTCH_BEST_TARGET
#endif

namespace clutch::bench {

CLUTCH_BEST_TARGET
void plain_product(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, const std::int8_t* x,
                   std::int32_t* y) {
  for (std::int64_t n = 0; n < rows; ++n) {
    std::int32_t sum = 0;
    for (std::int64_t k = 0; k < cols; ++k) sum += weights[n * cols + k] * x[k];
    y[n] = sum;
  }
}

}  // namespace clutch::bench
