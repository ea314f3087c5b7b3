#include "run/event_file.h"

#include <fmt/format.h>
#include <unistd.h>

#include <bit>
#include <cstring>
#include <filesystem>

#include "base/files.h"

namespace clutch {
namespace {

// Fields of tensorflow's event.proto, summary.proto, histogram.proto and tensor.proto.
enum EventField { kWallTime = 1, kStep = 2, kFileVersion = 3, kSummary = 5 };
enum ValueField { kTag = 1, kSimpleValue = 2, kHistogram = 5, kTensor = 8, kMetadata = 9 };
enum HistogramField { kMin = 1, kMax, kNum, kSum, kSumSquares, kBucketLimit, kBucket };
enum TensorField { kType = 1, kShape = 2, kStringValue = 8 };
constexpr int kSummaryValue = 1, kPluginData = 1, kPluginName = 1, kStringType = 7, kDimension = 2, kSize = 1;

template <class T>
std::string little_endian(T value) {
  static_assert(std::endian::native == std::endian::little);
  std::string bytes(sizeof(T), '\0');
  std::memcpy(bytes.data(), &value, sizeof(T));
  return bytes;
}

// A protocol buffer as it grows: varints, fixed numbers, and bytes with their length.
class Message {
 public:
  Message& number(int field, std::uint64_t value) {
    varint(static_cast<std::uint64_t>(field) << 3);
    varint(value);
    return *this;
  }
  Message& real(int field, double value) { return fixed(field, 1, little_endian(value)); }
  Message& real32(int field, double value) {
    return fixed(field, 5, little_endian(static_cast<float>(value)));
  }
  Message& bytes(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2);
    varint(value.size());
    text_ += value;
    return *this;
  }
  Message& message(int field, const Message& value) { return bytes(field, value.text_); }
  Message& reals(int field, const std::vector<double>& values) {
    std::string packed;
    for (const double v : values) packed += little_endian(v);
    return bytes(field, packed);
  }
  const std::string& text() const { return text_; }

 private:
  Message& fixed(int field, int wire_type, const std::string& value) {
    varint(static_cast<std::uint64_t>(field) << 3 | static_cast<std::uint64_t>(wire_type));
    text_ += value;
    return *this;
  }
  void varint(std::uint64_t value) {
    for (; value >= 128; value >>= 7) text_ += static_cast<char>(value | 128);
    text_ += static_cast<char>(value);
  }
  std::string text_;
};

// CRC-32C (Castagnoli, RFC 3720), as records are checked with.
std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = ~0u;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ ((crc & 1) != 0 ? 0x82F63B78u : 0);
  }
  return ~crc;
}

std::uint32_t masked(std::uint32_t crc) { return (crc >> 15 | crc << 17) + 0xA282EAD8u; }

std::string record(const Message& event) {
  const std::string length = little_endian<std::uint64_t>(event.text().size());
  return length + little_endian(masked(crc32c(length))) + event.text() +
         little_endian(masked(crc32c(event.text())));
}

// A bucket per value that occurs; its limit lies half a step above.
Message histogram(const std::array<std::uint64_t, 256>& counts) {
  double least = 0, most = 0, count = 0, sum = 0, squares = 0;
  std::vector<double> limits, buckets;
  for (int i = 0; i < 256; ++i) {
    const auto n = static_cast<double>(counts[static_cast<std::size_t>(i)]);
    const double v = i - 128;
    if (n == 0) continue;
    if (count == 0) least = v;
    most = v;
    count += n, sum += n * v, squares += n * v * v;
    limits.push_back(v + 0.5);
    buckets.push_back(n);
  }
  return Message()
      .real(kMin, least)
      .real(kMax, most)
      .real(kNum, count)
      .real(kSum, sum)
      .real(kSumSquares, squares)
      .reals(kBucketLimit, limits)
      .reals(kBucket, buckets);
}

Message text_value(const std::string& name, const std::string& text) {
  const Message plugin = Message().message(kPluginData, Message().bytes(kPluginName, "text"));
  const Message shape = Message().message(kDimension, Message().number(kSize, 1));
  const Message tensor =
      Message().number(kType, kStringType).message(kShape, shape).bytes(kStringValue, text);
  return Message().bytes(kTag, name).message(kTensor, tensor).message(kMetadata, plugin);
}

// The first record of a file, which says what it is.
std::string encode_file_start(double wall_seconds) {
  return record(Message().real(kWallTime, wall_seconds).bytes(kFileVersion, "brain.Event:2"));
}

}  // namespace

std::string encode_events(const StepEvents& events) {
  Message summary;
  for (const auto& [name, value] : events.scalars)
    summary.message(kSummaryValue, Message().bytes(kTag, name).real32(kSimpleValue, value));
  for (const auto& [name, counts] : events.histograms)
    summary.message(kSummaryValue, Message().bytes(kTag, name).message(kHistogram, histogram(counts)));
  for (const auto& [name, text] : events.texts) summary.message(kSummaryValue, text_value(name, text));
  return record(
      Message().real(kWallTime, events.wall_seconds).number(kStep, events.step).message(kSummary, summary));
}

Result<std::string> create_event_file(const std::string& folder, double wall_seconds) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) return fail(folder, "cannot be made: " + error.message(), "check where --out lies");
  const std::string path = fmt::format("{}/events.out.tfevents.{:.0f}.{}", folder, wall_seconds, ::getpid());
  CLUTCH_RETURN_IF_ERROR(write_file_atomically(path, encode_file_start(wall_seconds)));
  return path;
}

}  // namespace clutch
