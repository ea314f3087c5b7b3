#include "run/pack.h"

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/bytes.h"
#include "base/files.h"
#include "data/formats.h"

namespace clutch {
namespace {

constexpr std::string_view kMagic = "CLUTCHPK";
constexpr std::size_t kPrefixBytes = 8 + 8;  // magic, checksum of everything behind
// Fitness hardly compresses, so no honest pack grows by more; a bomb would.
constexpr std::uint64_t kFreeBytes = std::uint64_t{1} << 26, kMaxGrowth = 1000;
constexpr std::uint64_t kMaxPackBytes = std::uint64_t{1} << 36;
constexpr int kCompressionLevel = 19;

std::uint64_t most_plain_bytes(std::size_t packed) { return kFreeBytes + kMaxGrowth * packed; }

}  // namespace

// Inside: one line of JSON, then the fitness log as it stands in a run folder.
Result<std::string> pack(const Recording& recording) {
  nlohmann::ordered_json json;
  json["config"] = nlohmann::ordered_json::parse(to_json(recording.config));
  json["corpus_digest"] = recording.corpus_digest;
  std::string plain = json.dump() + "\n" + encode_header(recording.log.header);
  for (const LogRecord& record : recording.log.records) plain += encode_record(recording.log.header, record);

  std::string packed(ZSTD_compressBound(plain.size()), '\0');
  const std::size_t size =
      ZSTD_compress(packed.data(), packed.size(), plain.data(), plain.size(), kCompressionLevel);
  if (ZSTD_isError(size))
    return fail(recording.name, std::string("cannot be compressed: ") + ZSTD_getErrorName(size),
                "free memory");
  packed.resize(size);
  if (plain.size() > most_plain_bytes(size)) {
    return fail(
        recording.name,
        fmt::format("{} bytes of log compress to {}: too well to be unpacked again", plain.size(), size),
        "its pairs are all tied, so there is nothing in it; share its folder");
  }
  std::string file(kMagic);
  put_little_endian(file, XXH3_64bits(packed.data(), packed.size()), 8);
  return file + packed;
}

Result<Recording> unpack(std::string_view bytes, const std::string& name) {
  if (bytes.size() < kPrefixBytes || !bytes.starts_with(kMagic)) {
    return fail(name, "is no packed run", "make one with `clutch pack RUN -o FILE`");
  }
  const std::string_view packed = bytes.substr(kPrefixBytes);
  if (get_little_endian(bytes, 8, 8) != XXH3_64bits(packed.data(), packed.size())) {
    return fail(name, "its checksum is wrong", "the file is damaged; copy it again");
  }
  auto plain = decompress_zstd(packed, name, most_plain_bytes(packed.size()));
  if (!plain.ok()) return plain.status();
  const std::size_t line = plain.value().find('\n');
  const auto json = nlohmann::ordered_json::parse(plain.value().substr(0, line), nullptr, false);
  if (line == std::string::npos || !json.is_object() || !json.contains("config") ||
      !json.contains("corpus_digest") || !json["corpus_digest"].is_string()) {
    return fail(name, "its first line is no configuration", "make it anew with `clutch pack`");
  }
  auto config = config_from_json(json["config"].dump(), name);
  if (!config.ok()) return config.status();
  CLUTCH_RETURN_IF_ERROR(resolve(config.value()));
  auto log = parse_log(std::string_view(plain.value()).substr(line + 1), name);
  if (!log.ok()) return log.status();
  if (!log.value().damage.ok()) return log.value().damage;
  if (!log.value().torn.empty()) return fail(name, log.value().torn, "make it anew with `clutch pack`");
  Recording recording{name, config.value(), model_config(config.value()), std::move(log).value(),
                      json["corpus_digest"]};
  CLUTCH_RETURN_IF_ERROR(check_recording(recording));
  return recording;
}

Result<Recording> open_recording(const std::string& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return read_recording(path);
  auto bytes = read_file(path, kMaxPackBytes);
  if (!bytes.ok()) return bytes.status();
  return unpack(bytes.value(), path);
}

}  // namespace clutch
