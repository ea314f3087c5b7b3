// The fitness log: its bytes, and what becomes of every way to damage it.
#include "run/fitness_log.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <xxhash.h>

#include <csignal>
#include <fstream>
#include <random>

#include "base/bytes.h"
#include "base/files.h"
#include "base/temp_folder.h"
#include "evolution/population.h"

namespace clutch {
namespace {

LogHeader header_of(FitnessShape shape, std::uint32_t pairs) {
  return {.semantic_version = 1, .pairs = pairs, .fitness = shape, .start_digest = 0x0123456789abcdef};
}

// Records 0 to count - 1 with fitness drawn from the whole range of the shape.
std::vector<LogRecord> make_records(const LogHeader& header, std::size_t count) {
  std::mt19937_64 random(header.pairs);
  const int most = max_fitness(header.fitness);
  std::vector<LogRecord> records(count);
  for (std::size_t i = 0; i < count; ++i) {
    records[i] = {.step = i, .loss = static_cast<std::int64_t>(random()), .digest = random(), .fitness = {}};
    for (std::uint32_t p = 0; p < header.pairs; ++p)
      records[i].fitness.push_back(
          static_cast<std::int8_t>(static_cast<int>(random() % (2 * most + 1)) - most));
  }
  return records;
}

std::string make_bytes(const LogHeader& header, const std::vector<LogRecord>& records) {
  std::string bytes = encode_header(header);
  for (const LogRecord& record : records) bytes += encode_record(header, record);
  return bytes;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[c & 15];
  }
  return text;
}

std::string refusal(std::string_view bytes) {
  const auto log = parse_log(bytes, "a log");
  return log.ok() ? "accepted" : log.status().message();
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in '" << text << "'";
}

// A header whose checksum is right over what it says.
std::string sealed_header(std::uint32_t format, std::uint32_t version, std::uint32_t pairs,
                          std::uint32_t shape) {
  std::string bytes = "CLUTCHFL";
  for (const std::uint32_t value : {format, version, pairs, shape}) put_little_endian(bytes, value, 4);
  put_little_endian(bytes, 7, 8);
  put_little_endian(bytes, XXH3_64bits_withSeed(bytes.data(), bytes.size(), 0), 8);
  return bytes;
}

TEST(FitnessLog, RoundTripsBothShapesAndOddPairs) {
  for (const FitnessShape shape : {FitnessShape::sign, FitnessShape::scaled}) {
    for (const std::uint32_t pairs : {1u, 2u, 4u, 5u, 6u, 9u, 10u, 11u, 64u, 513u}) {
      SCOPED_TRACE(std::string(name(shape)) + ", pairs " + std::to_string(pairs));
      const LogHeader header = header_of(shape, pairs);
      const auto records = make_records(header, 4);
      const std::string bytes = make_bytes(header, records);
      EXPECT_EQ(bytes.size(), kLogHeaderBytes + 4 * record_bytes(header));
      const auto log = parse_log(bytes, "log");
      ASSERT_TRUE(log.ok()) << log.status().message();
      EXPECT_EQ(log.value().header, header);
      EXPECT_EQ(log.value().records, records);
      EXPECT_EQ(log.value().good_bytes, bytes.size());
      EXPECT_EQ(log.value().torn, "");
      EXPECT_TRUE(log.value().damage.ok());
    }
  }
  EXPECT_EQ(packed_fitness_bytes(FitnessShape::sign, 512), 103u);
  EXPECT_EQ(packed_fitness_bytes(FitnessShape::scaled, 512), 512u);
}

// Computed from docs/FORMATS.md with Python and libxxhash, not with this code.
TEST(FitnessLog, GoldenBytes) {
  EXPECT_EQ(hex(encode_header(header_of(FitnessShape::sign, 7))),
            "434c55544348464c01000000010000000700000000000000efcdab8967452301515c408f960f5908");
  EXPECT_EQ(hex(encode_record(
                header_of(FitnessShape::sign, 7),
                {.step = 3, .loss = -5, .digest = 0xfedcba9876543210, .fitness = {1, -1, 0, 0, 1, -1, 1}})),
            "0300000000000000fbffffffffffffff1032547698badcfec80681cb221d989ddbbd");
  EXPECT_EQ(
      hex(encode_record(header_of(FitnessShape::scaled, 3),
                        {.step = 0, .loss = std::int64_t{1} << 40, .digest = 1, .fitness = {127, -127, 0}})),
      "0000000000000000000000000001000001000000000000007f81002caa192f24a55dfc");
}

TEST(FitnessLog, ATornTailIsCutAndTheRecordsBeforeItKept) {
  for (const FitnessShape shape : {FitnessShape::sign, FitnessShape::scaled}) {
    const LogHeader header = header_of(shape, 7);
    const auto records = make_records(header, 4);
    const std::string bytes = make_bytes(header, records);
    const std::size_t size = record_bytes(header);
    for (std::size_t cut = kLogHeaderBytes; cut <= bytes.size(); ++cut) {
      SCOPED_TRACE(cut);
      const auto log = parse_log(std::string_view(bytes).substr(0, cut), "a log");
      ASSERT_TRUE(log.ok());
      const std::size_t whole = (cut - kLogHeaderBytes) / size, end = kLogHeaderBytes + whole * size;
      EXPECT_EQ(log.value().records, std::vector(records.begin(), records.begin() + whole));
      EXPECT_EQ(log.value().good_bytes, end);
      EXPECT_TRUE(log.value().damage.ok());
      EXPECT_EQ(log.value().torn.empty(), cut == end);
      if (cut == end) continue;
      expect_contains(log.value().torn, "a log: the last record, of step " + std::to_string(whole) +
                                            " at byte " + std::to_string(end));
    }
    for (std::size_t cut = 0; cut < kLogHeaderBytes; ++cut) {
      expect_contains(refusal(bytes.substr(0, cut)), "a log: is no fitness log");
    }
  }
}

TEST(FitnessLog, EveryFlippedByteIsFound) {
  for (const FitnessShape shape : {FitnessShape::sign, FitnessShape::scaled}) {
    const LogHeader header = header_of(shape, 7);
    const auto records = make_records(header, 5);
    const std::string bytes = make_bytes(header, records);
    const std::size_t size = record_bytes(header);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      for (const int bit : {0, 3, 7}) {
        SCOPED_TRACE(i);
        std::string damaged = bytes;
        damaged[i] = static_cast<char>(damaged[i] ^ 1 << bit);
        const auto log = parse_log(damaged, "a log");
        ASSERT_EQ(log.ok(), i >= kLogHeaderBytes);
        if (!log.ok()) continue;
        const std::size_t record = (i - kLogHeaderBytes) / size, begin = kLogHeaderBytes + record * size;
        EXPECT_EQ(log.value().records, std::vector(records.begin(), records.begin() + record));
        EXPECT_EQ(log.value().good_bytes, begin);
        const std::string at = std::to_string(record) + " at byte " + std::to_string(begin);
        if (record == 4) {
          EXPECT_TRUE(log.value().damage.ok());
          expect_contains(log.value().torn, "of step " + at);
        } else {
          EXPECT_EQ(log.value().torn, "");
          ASSERT_FALSE(log.value().damage.ok());
          expect_contains(log.value().damage.message(), "a log: record " + at + " is damaged");
          expect_contains(log.value().damage.message(), "the " + std::to_string(record) + " steps before it");
        }
      }
    }
  }
}

TEST(FitnessLog, RecordsOutOfPlaceAreFound) {
  const LogHeader header = header_of(FitnessShape::sign, 7);
  const auto records = make_records(header, 5);
  const auto parse = [&](const std::vector<std::size_t>& order) {
    std::string bytes = encode_header(header);
    for (const std::size_t i : order) bytes += encode_record(header, records[i]);
    return parse_log(bytes, "log").value();
  };
  const struct {
    std::vector<std::size_t> order;
    std::size_t good;
  } rows[] = {
      {{0, 2, 1, 3, 4}, 1}, {{1, 2, 3, 4}, 0}, {{0, 1, 1, 2, 3}, 2}, {{0, 1, 3, 4}, 2}, {{4, 3, 2, 1, 0}, 0}};
  for (const auto& row : rows) {
    const FitnessLog log = parse(row.order);
    EXPECT_EQ(log.records.size(), row.good);
    EXPECT_FALSE(log.damage.ok());
  }
  // A checksum made for the place does not help where the step is another.
  std::string bytes = encode_header(header) + encode_record(header, records[0]);
  std::string moved = encode_record(header, records[2]);
  moved.resize(moved.size() - 8);
  put_little_endian(moved, XXH3_64bits_withSeed(moved.data(), moved.size(), 1 + 1), 8);
  const FitnessLog log = parse_log(bytes + moved + moved, "log").value();
  EXPECT_EQ(log.records.size(), 1u);
  expect_contains(log.damage.message(), "it is of step 2, not 1");
}

TEST(FitnessLog, Headers) {
  EXPECT_EQ(refusal(sealed_header(1, 1, 3, 0)), "accepted");
  EXPECT_EQ(refusal(sealed_header(1, 1, 3, 4)), "accepted");
  EXPECT_EQ(refusal(sealed_header(1, 1, kMaxPopulation / 2, 1)), "accepted");
  expect_contains(refusal(""), "is no fitness log");
  expect_contains(refusal(std::string(40, 'x')), "is no fitness log");
  expect_contains(refusal(sealed_header(2, 1, 3, 0)), "has format 2 and semantic version 1, not 1 and 1");
  expect_contains(refusal(sealed_header(1, 9, 3, 0)), "has format 1 and semantic version 9");
  expect_contains(refusal(sealed_header(1, 1, 0, 0)), "impossible sizes");
  expect_contains(refusal(sealed_header(1, 1, kMaxPopulation / 2 + 1, 0)), "impossible sizes");
  expect_contains(refusal(sealed_header(1, 1, 3, 5)), "impossible sizes");
  expect_contains(refusal(sealed_header(1, 1, 3, 256)), "impossible sizes");  // not cut to 8 bits
}

TEST(FitnessLog, UnpackRefusesWhatIsNoFitness) {
  const auto unpacks = [](FitnessShape shape, std::uint32_t pairs, std::initializer_list<int> values) {
    std::string bytes;
    for (const int value : values) bytes.push_back(static_cast<char>(value));
    EXPECT_EQ(bytes.size(), packed_fitness_bytes(shape, pairs));
    std::vector<std::int8_t> out(pairs);
    return unpack_fitness(shape, bytes, out);
  };
  EXPECT_TRUE(unpacks(FitnessShape::sign, 5, {242}));
  for (int byte = 243; byte < 256; ++byte) EXPECT_FALSE(unpacks(FitnessShape::sign, 5, {byte}));
  // A last byte of two pairs has digits for two alone.
  EXPECT_TRUE(unpacks(FitnessShape::sign, 7, {0, 8}));
  EXPECT_FALSE(unpacks(FitnessShape::sign, 7, {0, 9}));
  EXPECT_FALSE(unpacks(FitnessShape::sign, 7, {243, 0}));
  EXPECT_TRUE(unpacks(FitnessShape::scaled, 2, {127, 129}));
  EXPECT_FALSE(unpacks(FitnessShape::scaled, 2, {127, 128}));

  // Such a byte behind a good checksum is damage, not a fitness.
  const LogHeader header = header_of(FitnessShape::sign, 7);
  std::string record = encode_record(header, make_records(header, 1)[0]);
  record[25] = 9;
  record.resize(record.size() - 8);
  put_little_endian(record, XXH3_64bits_withSeed(record.data(), record.size(), 1), 8);
  expect_contains(parse_log(encode_header(header) + record + record, "log").value().damage.message(),
                  "it holds what is no fitness");
}

TEST(FitnessLog, WriterAppendsAfterReopening) {
  const TempFolder folder;
  const std::string path = folder / "fitness.log";
  const LogHeader header = header_of(FitnessShape::sign, 7);
  const auto records = make_records(header, 5);
  {
    auto writer = LogWriter::create(path, header);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    ASSERT_TRUE(writer.value().append(records[0]).ok());
    ASSERT_TRUE(writer.value().append(records[1]).ok());
    // Without a sync or a close: it is the operating system's already.
    EXPECT_EQ(read_log(path).value().records.size(), 2u);
    EXPECT_TRUE(writer.value().sync().ok());
  }
  std::ofstream(path, std::ios::app | std::ios::binary) << encode_record(header, records[2]).substr(0, 20);
  const FitnessLog torn = read_log(path).value();
  EXPECT_NE(torn.torn, "");
  {
    auto writer = LogWriter::reopen(path, header, torn.good_bytes);
    ASSERT_TRUE(writer.ok()) << writer.status().message();
    for (std::size_t i = 2; i < 5; ++i) ASSERT_TRUE(writer.value().append(records[i]).ok());
  }
  EXPECT_EQ(read_file(path, 1 << 20).value(), make_bytes(header, records));

  EXPECT_FALSE(LogWriter::create(path, header).ok()) << "an existing log is not overwritten";
  EXPECT_FALSE(LogWriter::reopen(folder / "nowhere", header, 40).ok());
  EXPECT_FALSE(read_log(folder / "nowhere").ok());
}

// A file limited in size stands for a full disk: the call that meets the limit writes a part.
TEST(FitnessLog, AFullDiskIsAFailureAndLeavesATornTail) {
  const TempFolder folder;
  const std::string path = folder / "fitness.log";
  const LogHeader header = header_of(FitnessShape::sign, 7);
  const auto records = make_records(header, 3);
  auto writer = LogWriter::create(path, header);
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE(writer.value().append(records[0]).ok());

  rlimit old = {};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old), 0);
  const rlimit tight = {.rlim_cur = kLogHeaderBytes + record_bytes(header) + 10, .rlim_max = old.rlim_max};
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status full = writer.value().append(records[1]);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old), 0);
  std::signal(SIGXFSZ, old_handler);

  ASSERT_FALSE(full.ok());
  expect_contains(full.message(), path + ": cannot be written");
  const FitnessLog log = read_log(path).value();
  EXPECT_EQ(log.records.size(), 1u);
  EXPECT_NE(log.torn, "");
}

}  // namespace
}  // namespace clutch
