// libFuzzer target; what it does with an input is in parsers.h.
#include <cstddef>

#include "fuzz/parsers.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  clutch::fuzz_npy({reinterpret_cast<const char*>(data), size});
  return 0;
}
