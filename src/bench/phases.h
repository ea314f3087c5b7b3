// A table of kernels that times another: what each kind of work costs. One at a time in a process.
#pragma once

#include <vector>

#include "backend/cpu/kernels.h"
#include "bench/bench.h"

namespace clutch::bench {

// The table that calls `kernels` and adds up times. Valid until the next call.
const cpu::Kernels& timed_kernels(const cpu::Kernels& kernels);

// Nanoseconds since the last reset, summed over threads, by phase; and the multiply-adds of matrix products,
// padding included.
struct PhaseTimes {
  double products = 0, elementwise = 0, norm = 0, attention = 0, loss = 0, noise = 0, votes = 0, rest = 0;
  double multiplies = 0;
};
PhaseTimes read_times();
void reset_times();

}  // namespace clutch::bench
