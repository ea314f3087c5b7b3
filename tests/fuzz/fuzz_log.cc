// libFuzzer target: any bytes are parsed or refused as a fitness log and as a packed run, and what parses is
// written as the same bytes. The first byte picks: 0 a log, 1 a log whose checksums are made good first (so
// that the fuzzer gets past them), 2 a pack, 3 the plain inside of a pack.
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/bytes.h"
#include "run/fitness_log.h"
#include "run/pack.h"

namespace clutch {

inline void seal(std::string& bytes, std::size_t begin, std::size_t end, std::uint64_t place) {
  std::string sum;
  put_little_endian(sum, XXH3_64bits_withSeed(bytes.data() + begin, end - begin, place), 8);
  bytes.replace(end, 8, sum);
}

inline void seal_log(std::string& bytes) {
  if (bytes.size() < kLogHeaderBytes) return;
  seal(bytes, 0, kLogHeaderBytes - 8, 0);
  const auto log = parse_log(std::string_view(bytes).substr(0, kLogHeaderBytes), "input");
  if (!log.ok()) return;
  const std::size_t size = record_bytes(log.value().header);
  std::uint64_t place = 1;
  for (std::size_t at = kLogHeaderBytes; bytes.size() - at >= size; at += size)
    seal(bytes, at, at + size - 8, place++);
}

inline std::string encode_log(const FitnessLog& log) {
  std::string bytes = encode_header(log.header);
  for (const LogRecord& record : log.records) bytes += encode_record(log.header, record);
  return bytes;
}

inline void fuzz_log(std::string_view input) {
  const auto log = parse_log(input, "input");
  if (!log.ok()) {
    check(log.status().message().starts_with("input: "), "a refusal names the file");
    return;
  }
  const FitnessLog& read = log.value();
  check(encode_log(read) == input.substr(0, read.good_bytes), "good bytes are what was read");
  check(read.torn.empty() || read.damage.ok(), "a log is torn or damaged, not both");
  check((read.good_bytes == input.size()) == (read.torn.empty() && read.damage.ok()),
        "nothing is dropped unsaid");
}

inline void fuzz_pack(std::string_view input) {
  const auto recording = unpack(input, "input");
  if (!recording.ok()) {
    check(!recording.status().message().empty(), "a refusal has a message");
    return;
  }
  const auto packed = pack(recording.value());
  check(packed.ok(), "what was unpacked can be packed");
  const auto again = unpack(packed.value(), "output");
  check(again.ok() && to_json(again.value().config) == to_json(recording.value().config) &&
            again.value().log.records == recording.value().log.records &&
            again.value().corpus_digest == recording.value().corpus_digest,
        "what was packed unpacks to the same");
}

inline void fuzz_log_or_pack(std::string_view input) {
  if (input.empty()) return;
  const int way = static_cast<unsigned char>(input.front()) % 4;
  std::string bytes(input.substr(1));
  if (way == 1) seal_log(bytes);
  if (way == 3) {
    if (const std::size_t line = bytes.find('\n'); line != std::string::npos) {
      std::string log = bytes.substr(line + 1);
      seal_log(log);
      bytes.replace(line + 1, log.size(), log);
    }
    std::string packed(ZSTD_compressBound(bytes.size()), '\0');
    packed.resize(ZSTD_compress(packed.data(), packed.size(), bytes.data(), bytes.size(), 1));
    bytes = "CLUTCHPK";
    put_little_endian(bytes, XXH3_64bits(packed.data(), packed.size()), 8);
    bytes += packed;
  }
  way < 2 ? fuzz_log(bytes) : fuzz_pack(bytes);
}

}  // namespace clutch

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  clutch::fuzz_log_or_pack({reinterpret_cast<const char*>(data), size});
  return 0;
}
