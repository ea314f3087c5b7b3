// Where values lie that are not all alive at once: those whose lifetimes do not meet may share memory.
#pragma once

#include <cstdint>
#include <vector>

namespace clutch {

// A value: alive from moment `first` to moment `last`, both included, in `bytes` of memory.
struct Lifetime {
  int first = 0, last = 0;
  std::int64_t bytes = 0;
};

struct Places {
  std::vector<std::int64_t> offsets;  // by value
  std::int64_t bytes = 0;             // in all
};

// Places values one after the other, each at the lowest offset that no value alive at the same time covers.
// Offsets are sums of sizes, so that sizes of one alignment keep it.
Places place(const std::vector<Lifetime>& values);

}  // namespace clutch
