// libFuzzer target: any bytes are parsed or refused as a case of `clutch parity`, and as the program inside
// one. The first byte picks: 0 a case, whose program verify() takes; else a program, which is written as it
// was read and may be given to verify().
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "parity/case_file.h"
#include "program/verify.h"

namespace clutch::parity {

inline void fuzz_case(std::string_view input) {
  if (input.empty()) return;
  const std::string_view rest = input.substr(1);
  if (input[0] == 0) {
    const auto read = parse_case(rest, "input");
    check(read.ok() || !read.status().message().empty(), "a refusal has a message");
    check(!read.ok() || verify(read.value().start.program, read.value().start.noise).ok(),
          "what is read is legal");
    return;
  }
  const auto program = program_from_json(std::string(rest), "input");
  if (!program.ok()) return check(!program.status().message().empty(), "a refusal has a message");
  const std::string text = program_to_json(program.value());
  const auto again = program_from_json(text, "output");
  check(again.ok() && program_to_json(again.value()) == text, "what was written parses to the same");
  static_cast<void>(verify(program.value(), {}).ok());
}

}  // namespace clutch::parity

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  clutch::parity::fuzz_case({reinterpret_cast<const char*>(bytes), size});
  return 0;
}
