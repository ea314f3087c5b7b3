#include "run/fitness_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <utility>

#include "base/bytes.h"
#include "base/files.h"
#include "evolution/population.h"
#include "exact/version.h"

namespace clutch {
namespace {

constexpr std::string_view kMagic = "CLUTCHFL";
constexpr std::uint32_t kFormatVersion = 1;
constexpr std::uint64_t kMaxLogBytes = std::uint64_t{1} << 36;
constexpr int kTritsPerByte = 5;
constexpr std::size_t kRecordOverheadBytes = 4 * sizeof(std::uint64_t);  // step, loss, digest, checksum

// A record's checksum is seeded with its place, so that records cannot trade places.
std::uint64_t checksum(std::string_view bytes, std::uint64_t place) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), place);
}

Result<LogHeader> parse_header(std::string_view bytes, const std::string& name) {
  if (bytes.size() < kLogHeaderBytes || !bytes.starts_with(kMagic)) {
    return fail(name, "is no fitness log", "name the fitness.log of a run folder");
  }
  if (get_little_endian(bytes, 32, 8) != checksum(bytes.substr(0, 32), 0)) {
    return fail(name, "its header is damaged", "restore the file; without its header the log cannot be read");
  }
  if (get_little_endian(bytes, 8, 4) != kFormatVersion ||
      get_little_endian(bytes, 12, 4) != exact::kSemanticVersion) {
    return fail(
        name,
        fmt::format("has format {} and semantic version {}, not {} and {}", get_little_endian(bytes, 8, 4),
                    get_little_endian(bytes, 12, 4), kFormatVersion, exact::kSemanticVersion),
        "use the clutch that wrote it");
  }
  LogHeader header{.semantic_version = static_cast<std::uint32_t>(get_little_endian(bytes, 12, 4)),
                   .pairs = static_cast<std::uint32_t>(get_little_endian(bytes, 16, 4)),
                   .fitness = static_cast<FitnessShape>(get_little_endian(bytes, 20, 4)),
                   .start_digest = get_little_endian(bytes, 24, 8)};
  if (header.pairs < 1 || header.pairs > kMaxPopulation / 2 ||
      get_little_endian(bytes, 20, 4) >= fitness_shape_names().size()) {
    return fail(name, "its header holds impossible sizes", "restore the file");
  }
  return header;
}

// Why the record at `offset` is not good; empty where it is.
std::string fault_of(const LogHeader& header, std::string_view bytes, std::uint64_t step, LogRecord& record) {
  const std::size_t body = bytes.size() - 8;
  if (get_little_endian(bytes, body, 8) != checksum(bytes.substr(0, body), step + 1))
    return "its checksum is wrong";
  record = {.step = get_little_endian(bytes, 0, 8),
            .loss = static_cast<std::int64_t>(get_little_endian(bytes, 8, 8)),
            .digest = get_little_endian(bytes, 16, 8),
            .fitness = {}};
  if (record.step != step) return fmt::format("it is of step {}, not {}", record.step, step);
  record.fitness.resize(header.pairs);
  if (!unpack_fitness(header.fitness, bytes.substr(24, body - 24), record.fitness))
    return "it holds what is no fitness";
  return "";
}

}  // namespace

std::size_t packed_fitness_bytes(FitnessShape shape, std::uint32_t pairs) {
  return shape == FitnessShape::sign ? (pairs + kTritsPerByte - 1) / kTritsPerByte : pairs;
}

void pack_fitness(FitnessShape shape, std::span<const std::int8_t> fitness, std::string& out) {
  if (shape != FitnessShape::sign) {
    for (const std::int8_t f : fitness) out.push_back(static_cast<char>(f));
    return;
  }
  for (std::size_t first = 0; first < fitness.size(); first += kTritsPerByte) {
    int byte = 0;
    for (std::size_t i = std::min(first + kTritsPerByte, fitness.size()); i > first; --i)
      byte = byte * 3 + fitness[i - 1] + 1;
    out.push_back(static_cast<char>(byte));
  }
}

bool unpack_fitness(FitnessShape shape, std::string_view bytes, std::span<std::int8_t> out) {
  if (shape != FitnessShape::sign) {
    for (std::size_t p = 0; p < out.size(); ++p) {
      out[p] = static_cast<std::int8_t>(bytes[p]);
      if (out[p] == -128) return false;
    }
    return true;
  }
  for (std::size_t p = 0; p < out.size();) {
    int byte = static_cast<unsigned char>(bytes[p / kTritsPerByte]);
    for (int i = 0; i < kTritsPerByte && p < out.size(); ++i, ++p) {
      out[p] = static_cast<std::int8_t>(byte % 3 - 1);
      byte /= 3;
    }
    if (byte != 0) return false;
  }
  return true;
}

std::size_t record_bytes(const LogHeader& header) {
  return kRecordOverheadBytes + packed_fitness_bytes(header.fitness, header.pairs);
}

std::string encode_header(const LogHeader& header) {
  std::string out(kMagic);
  put_little_endian(out, kFormatVersion, 4);
  put_little_endian(out, header.semantic_version, 4);
  put_little_endian(out, header.pairs, 4);
  put_little_endian(out, static_cast<std::uint64_t>(header.fitness), 4);
  put_little_endian(out, header.start_digest, 8);
  put_little_endian(out, checksum(out, 0), 8);
  return out;
}

std::string encode_record(const LogHeader& header, const LogRecord& record) {
  check_equal(record.fitness.size(), std::size_t{header.pairs}, "a record has a fitness for every pair");
  std::string out;
  put_little_endian(out, record.step, 8);
  put_little_endian(out, static_cast<std::uint64_t>(record.loss), 8);
  put_little_endian(out, record.digest, 8);
  pack_fitness(header.fitness, record.fitness, out);
  put_little_endian(out, checksum(out, record.step + 1), 8);
  return out;
}

Result<FitnessLog> parse_log(std::string_view bytes, const std::string& name) {
  auto header = parse_header(bytes, name);
  if (!header.ok()) return header.status();
  FitnessLog log{header.value(), {}, kLogHeaderBytes, "", {}};
  const std::size_t size = record_bytes(log.header);
  while (log.good_bytes < bytes.size()) {
    const std::string_view rest = bytes.substr(log.good_bytes);
    LogRecord record;
    const std::string fault = rest.size() < size
                                  ? "it is cut short"
                                  : fault_of(log.header, rest.substr(0, size), log.records.size(), record);
    if (fault.empty()) {
      log.records.push_back(std::move(record));
      log.good_bytes += size;
      continue;
    }
    const std::string where =
        fmt::format("record {} at byte {} is damaged: {}", log.records.size(), log.good_bytes, fault);
    if (rest.size() <= size) {
      log.torn = fmt::format("{}: the last record, of step {} at byte {}, is cut off: {}", name,
                             log.records.size(), log.good_bytes, fault);
    } else {
      log.damage = fail(name, where, fmt::format("the {} steps before it stay usable", log.records.size()));
    }
    break;
  }
  return log;
}

Result<FitnessLog> read_log(const std::string& path) {
  auto bytes = read_file(path, kMaxLogBytes);
  if (!bytes.ok()) return bytes.status();
  return parse_log(bytes.value(), path);
}

Result<LogWriter> LogWriter::create(const std::string& path, const LogHeader& header) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
  if (file < 0)
    return fail(path, std::string("cannot be created: ") + std::strerror(errno), "choose another --out");
  LogWriter writer(path, header, file);
  CLUTCH_RETURN_IF_ERROR(writer.write(encode_header(header)));
  // The name has to reach the disk too. File systems that cannot sync folders have nothing better to offer.
  const std::string folder = std::filesystem::path(path).parent_path().string();
  const int directory = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (directory >= 0) {
    ::fsync(directory);
    ::close(directory);
  }
  return writer;
}

Result<LogWriter> LogWriter::reopen(const std::string& path, const LogHeader& header,
                                    std::uint64_t good_bytes) {
  const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0)
    return fail(path, std::string("cannot be opened: ") + std::strerror(errno), "check its permissions");
  LogWriter writer(path, header, file);
  if (::ftruncate(file, static_cast<off_t>(good_bytes)) != 0 || ::lseek(file, 0, SEEK_END) < 0) {
    return fail(path, std::string("cannot be cut: ") + std::strerror(errno), "check its permissions");
  }
  return writer;
}

LogWriter::LogWriter(LogWriter&& other) noexcept
    : path_(std::move(other.path_)), header_(other.header_), file_(std::exchange(other.file_, -1)) {}

LogWriter::~LogWriter() {
  if (file_ >= 0) ::close(file_);
}

Status LogWriter::append(const LogRecord& record) { return write(encode_record(header_, record)); }

Status LogWriter::sync() {
  if (::fdatasync(file_) == 0) return {};
  return fail(path_, std::string("cannot be synced: ") + std::strerror(errno), "check the disk");
}

// One write() call per record, so that a killed process leaves a whole record or none (a full disk may leave
// a part, which the next opening cuts off).
Status LogWriter::write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(file_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      return fail(path_, std::string("cannot be written: ") + std::strerror(errno),
                  "make room, then resume the run");
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace clutch
