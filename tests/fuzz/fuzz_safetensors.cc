// libFuzzer target: any bytes are parsed or refused, and what parses is written as bytes that parse to the
// same. Build: clang++ -std=c++20 -g -fsanitize=fuzzer,address,undefined -Isrc tests/fuzz/fuzz_safetensors.cc
//   src/base/{safetensors,tensor,files,status}.cc -lfmt -lxxhash
// Run: ./a.out -max_len=4096 <scratch folder> tests/fuzz/corpus/safetensors
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace clutch;
  const std::string_view input(reinterpret_cast<const char*>(bytes), size);
  const auto file = parse_safetensors(input, "input");
  if (!file.ok()) {
    check(!file.status().message().empty(), "a refusal has a message");
    return 0;
  }
  const auto header = safetensors_header(file.value(), "output");
  check(header.ok(), "what was parsed can be written");
  std::string output = header.value();
  for (const Tensor& tensor : file.value().tensors) output.append(tensor.data.begin(), tensor.data.end());
  const auto again = parse_safetensors(output, "output");
  check(again.ok() && again.value() == file.value(), "what was written parses to the same");
  return 0;
}
