// What anybody would write first: a matrix times a vector, left to the compiler.
#pragma once

#include <cstdint>

namespace clutch::bench {

// y[n] = Σ_k weights[n][k] · x[k], for k <= 2^17.
void plain_product(const std::int8_t* weights, std::int64_t rows, std::int64_t cols, const std::int8_t* x,
                   std::int32_t* y);

}  // namespace clutch::bench
