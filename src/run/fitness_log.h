// The fitness log of a run, RUN/fitness.log: with the configuration and the start it determines the weights
// at every step. Append-only, framed, a checksum on every record; docs/FORMATS.md has it byte by byte.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "evolution/fitness.h"

namespace clutch {

// What a log is of. All its records have the same size, which follows from this.
struct LogHeader {
  std::uint32_t semantic_version = 0;
  std::uint32_t pairs = 0;
  FitnessShape fitness = FitnessShape::sign;
  std::uint64_t start_digest = 0;  // of the weights before step 0

  bool operator==(const LogHeader&) const = default;
};

struct LogRecord {
  std::uint64_t step = 0;            // updates made before this one: records count from 0
  std::int64_t loss = 0;             // sum of all members' losses, in units of 2^-20 bit
  std::uint64_t digest = 0;          // of the weights after the update
  std::vector<std::int8_t> fitness;  // [pairs]

  bool operator==(const LogRecord&) const = default;
};

// Fitness as bytes. Shape sign: five pairs a byte, pair i of them as the digit (f + 1) of 3^i; other shapes:
// a byte each. Unpacking (bytes of the packed size) is false where a byte stands for no fitness.
std::size_t packed_fitness_bytes(FitnessShape shape, std::uint32_t pairs);
void pack_fitness(FitnessShape shape, std::span<const std::int8_t> fitness, std::string& out);
bool unpack_fitness(FitnessShape shape, std::string_view bytes, std::span<std::int8_t> out);

constexpr std::size_t kLogHeaderBytes = 40;
std::size_t record_bytes(const LogHeader& header);

std::string encode_header(const LogHeader& header);
std::string encode_record(const LogHeader& header, const LogRecord& record);

// A log read back. Records stand in order, record i for step i.
struct FitnessLog {
  LogHeader header;
  std::vector<LogRecord> records;
  std::uint64_t good_bytes = 0;  // of the file, up to the end of the last good record
  std::string torn;              // says what was cut off at the end; empty where nothing was
  Status damage;  // a record in the middle whose checksum or step is wrong; `records` end before it
};

// Never fails on what follows a good header: see `torn` and `damage`. `name` stands for the file in messages.
Result<FitnessLog> parse_log(std::string_view bytes, const std::string& name);
Result<FitnessLog> read_log(const std::string& path);

// Appends records to a log file.
class LogWriter {
 public:
  // A new file, or the end of an existing one whose first good_bytes are kept.
  static Result<LogWriter> create(const std::string& path, const LogHeader& header);
  static Result<LogWriter> reopen(const std::string& path, const LogHeader& header, std::uint64_t good_bytes);
  LogWriter(LogWriter&& other) noexcept;
  LogWriter& operator=(LogWriter&&) = delete;
  ~LogWriter();

  // Hands the record to the operating system: a killed process loses nothing of it.
  Status append(const LogRecord& record);

  // To the disk: a machine that loses power loses nothing before this.
  Status sync();

 private:
  LogWriter(std::string path, LogHeader header, int file)
      : path_(std::move(path)), header_(header), file_(file) {}
  Status write(std::string_view bytes);
  std::string path_;
  LogHeader header_;
  int file_;
};

}  // namespace clutch
