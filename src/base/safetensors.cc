// Reading goes in three steps, shared by memory and disk: the header's length, its JSON into entries (in
// HeaderReader), the entries against the size of the data (in check_entries). Only then are tensors
// allocated.
#include "base/safetensors.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/files.h"
#include "base/utf8.h"

namespace clutch {
namespace {

using nlohmann::json;

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the format's reference implementation
constexpr std::size_t kHeaderAlignment = 8;
constexpr const char* kMetadataKey = "__metadata__";
constexpr const char* kDamagedHint = "the file is damaged or badly written; copy or export it again";
constexpr const char* kTruncatedHint = "the file is truncated or not safetensors; copy it again";

// A name from a file as it may be shown in a message: short, printable, in quotes.
std::string shown(std::string_view text) {
  constexpr std::size_t kMaxShown = 80;
  const bool whole = text.size() <= kMaxShown;
  return json(text.substr(0, kMaxShown)).dump(-1, ' ', true, json::error_handler_t::replace) +
         (whole ? "" : "...");
}

// One tensor as the header describes it, nothing checked yet but JSON types.
struct Entry {
  std::string name, dtype;
  std::vector<std::uint64_t> shape, offsets;
};

// Receives the header's JSON as a stream of events and keeps what belongs into a safetensors header, refusing
// the first thing that does not. No tree of values is built, so deep nesting costs nothing (it is refused at
// the fourth level), and keys given twice are seen rather than merged.
class HeaderReader : public nlohmann::json_sax<json> {
 public:
  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;  // why the header was refused

  bool start_object(std::size_t) override {
    if (where_ == Where::kOutside) {
      where_ = Where::kHeader;
    } else if (where_ == Where::kHeader && key_ == kMetadataKey) {
      where_ = Where::kMetadata;
    } else if (where_ == Where::kHeader) {
      where_ = Where::kTensor;
      fields_.clear();
      entries.push_back({.name = key_, .dtype = {}, .shape = {}, .offsets = {}});
    } else {
      return unexpected("an object");
    }
    return true;
  }

  bool key(std::string& key) override {
    auto& keys = where_ == Where::kHeader ? names_ : where_ == Where::kTensor ? fields_ : metadata_keys_;
    key_ = key;
    if (keys.insert(key).second) return true;
    return refuse(fmt::format("the header has the key {} twice in one object", shown(key)));
  }

  bool end_object() override {
    // Values arrive only for the three known fields, so three of them are all of them.
    if (where_ == Where::kTensor && fields_.size() != 3) {
      return refuse(fmt::format("tensor {} lacks dtype, shape or data_offsets", shown(entries.back().name)));
    }
    where_ = where_ == Where::kHeader ? Where::kOutside : Where::kHeader;
    return true;
  }

  bool start_array(std::size_t) override {
    if (where_ != Where::kTensor) return unexpected("an array");
    if (key_ != "shape" && key_ != "data_offsets") return unexpected("an array");
    where_ = Where::kNumbers;
    return true;
  }

  bool end_array() override {
    where_ = Where::kTensor;
    return true;
  }

  bool string(std::string& value) override {
    if (where_ == Where::kMetadata) {
      metadata[key_] = std::move(value);
    } else if (where_ == Where::kTensor && key_ == "dtype") {
      entries.back().dtype = std::move(value);
    } else {
      return unexpected("a string");
    }
    return true;
  }

  bool number_unsigned(std::uint64_t value) override {
    if (where_ != Where::kNumbers) return unexpected("a number");
    (key_ == "shape" ? entries.back().shape : entries.back().offsets).push_back(value);
    return true;
  }

  bool number_integer(std::int64_t) override { return unexpected("a negative number"); }
  bool number_float(double, const std::string&) override { return unexpected("a fraction or huge number"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool null() override { return unexpected("null"); }
  bool binary(json::binary_t&) override { return unexpected("binary data"); }

  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return refuse(fmt::format("the header is not JSON (at its byte {})", position));
  }

 private:
  enum class Where { kOutside, kHeader, kMetadata, kTensor, kNumbers };

  bool refuse(std::string why) {
    problem = std::move(why);
    return false;
  }

  // Refuses a value whose type does not belong where it stands.
  bool unexpected(std::string_view what) {
    switch (where_) {
      case Where::kOutside:  // cannot be: the header begins with {, which header_length() has seen
      case Where::kHeader:
        return refuse(fmt::format("{} is {}, not an object", shown(key_), what));
      case Where::kMetadata:
        return refuse(fmt::format("metadata {} is {}, not a string", shown(key_), what));
      case Where::kTensor:
      case Where::kNumbers:
        break;
    }
    return refuse(
        fmt::format("tensor {} has {} in its field {}", shown(entries.back().name), what, shown(key_)));
  }

  Where where_ = Where::kOutside;
  std::string key_;                              // the last key seen
  std::set<std::string> names_, metadata_keys_;  // keys of the header and of its metadata
  std::set<std::string> fields_;                 // keys of the present tensor
};

// A tensor without its data yet, and where in the data section that lies.
struct PlacedTensor {
  Tensor tensor;
  std::uint64_t begin_bytes, end_bytes;
};

struct Layout {
  std::vector<PlacedTensor> tensors;  // in the order of their data
  std::map<std::string, std::string> metadata;
};

Result<PlacedTensor> check_entry(const Entry& entry, std::uint64_t data_bytes, const std::string& name) {
  const std::string label = "tensor " + shown(entry.name);
  if (entry.dtype != "I8" && entry.dtype != "I32") {
    return fail(name,
                fmt::format("{} has dtype {}; only I8 and I32 are supported", label, shown(entry.dtype)),
                "convert the model to int8 tensors first");
  }
  const ElementType type = entry.dtype == "I8" ? ElementType::kInt8 : ElementType::kInt32;
  std::vector<std::int64_t> shape;
  for (const std::uint64_t dimension : entry.shape) {
    if (dimension > std::numeric_limits<std::int64_t>::max()) {
      return fail(name, fmt::format("{} has a dimension of {}", label, dimension), kDamagedHint);
    }
    shape.push_back(static_cast<std::int64_t>(dimension));
  }
  const auto count = element_count(shape);
  std::int64_t bytes = 0;
  if (!count || __builtin_mul_overflow(*count, bytes_of(type), &bytes))
    return fail(name, label + " has a shape of more than 2^63 elements", kDamagedHint);
  if (entry.offsets.size() != 2) {
    return fail(name, fmt::format("{} has {} data_offsets, not 2", label, entry.offsets.size()),
                kDamagedHint);
  }
  const std::uint64_t begin = entry.offsets[0], end = entry.offsets[1];
  if (end > data_bytes) {
    return fail(name, fmt::format("{} ends at byte {} of the data, which has {}", label, end, data_bytes),
                kTruncatedHint);
  }
  if (begin > end || end - begin != static_cast<std::uint64_t>(bytes)) {
    return fail(name, fmt::format("{} has {} elements, but data_offsets [{}, {}]", label, *count, begin, end),
                kDamagedHint);
  }
  return PlacedTensor{.tensor = {.name = entry.name, .shape = std::move(shape), .data = {}, .type = type},
                      .begin_bytes = begin,
                      .end_bytes = end};
}

// The tensors, sorted by place; they must fill the data from its first byte to its last.
Result<std::vector<PlacedTensor>> check_entries(const std::vector<Entry>& entries, std::uint64_t data_bytes,
                                                const std::string& name) {
  std::vector<PlacedTensor> tensors;
  for (const Entry& entry : entries) {
    auto placed = check_entry(entry, data_bytes, name);
    if (!placed.ok()) return placed.status();
    tensors.push_back(std::move(placed).value());
  }
  // By end too, and stably: empty tensors then keep their place among the others.
  std::stable_sort(tensors.begin(), tensors.end(), [](const PlacedTensor& a, const PlacedTensor& b) {
    return std::pair(a.begin_bytes, a.end_bytes) < std::pair(b.begin_bytes, b.end_bytes);
  });
  std::uint64_t filled = 0;
  for (const PlacedTensor& placed : tensors) {
    if (placed.begin_bytes != filled) {
      return fail(name,
                  fmt::format("tensor {} begins at byte {} of the data, where byte {} comes next",
                              shown(placed.tensor.name), placed.begin_bytes, filled),
                  kDamagedHint);
    }
    filled = placed.end_bytes;
  }
  if (filled != data_bytes) {
    return fail(name, fmt::format("the tensors end at byte {} of the data, which has {}", filled, data_bytes),
                kDamagedHint);
  }
  return tensors;
}

Result<Layout> parse_header(std::string_view header, std::uint64_t data_bytes, const std::string& name) {
  // The JSON parser takes a 0 byte for the end of the text and would not look at what follows.
  if (const auto zero = header.find('\0'); zero != std::string_view::npos) {
    return fail(name, fmt::format("the header has a 0 byte (its byte {})", zero), kDamagedHint);
  }
  HeaderReader reader;
  if (!json::sax_parse(header, &reader)) return fail(name, reader.problem, kDamagedHint);
  auto tensors = check_entries(reader.entries, data_bytes, name);
  if (!tensors.ok()) return tensors.status();
  return Layout{.tensors = std::move(tensors).value(), .metadata = std::move(reader.metadata)};
}

// What else a file may be that is given for safetensors, by how it begins; empty if unknown.
std::string_view foreign_format(std::string_view start) {
  struct Format {
    std::string_view start, what;
  };
  static constexpr std::array<Format, 7> kFormats = {{
      {"GGUF", "a GGUF file"},
      {"PK\x03\x04", "a zip archive (perhaps of PyTorch or NumPy)"},
      {"\x93NUMPY", "a NumPy file"},
      {"\x80\x02", "a Python pickle"},
      {"\x80\x03", "a Python pickle"},
      {"\x80\x04", "a Python pickle"},
      {"\x80\x05", "a Python pickle"},
  }};
  for (const Format& format : kFormats) {
    if (start.starts_with(format.start)) return format.what;
  }
  return {};
}

// The header's length, from the file's first bytes: 9 of them, or all if there are fewer. The ninth must open
// the header's object, which tells other formats apart before anything is allocated.
Result<std::uint64_t> header_length(std::string_view start, std::uint64_t file_bytes,
                                    const std::string& name) {
  const auto refuse = [&](const std::string& problem) {
    if (const auto format = foreign_format(start); !format.empty()) {
      return fail(name, fmt::format("is {}, not a safetensors file", format),
                  "convert it to safetensors first");
    }
    return fail(name, problem, kTruncatedHint);
  };
  if (start.size() <= kLengthBytes) return refuse(fmt::format("has only {} bytes", file_bytes));
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) {
    length |= std::uint64_t{static_cast<unsigned char>(start[i])} << (8 * i);
  }
  if (length > file_bytes - kLengthBytes) {
    return refuse(fmt::format("header length {} exceeds the file's {} bytes", length, file_bytes));
  }
  if (length > kMaxHeaderBytes) {
    return refuse(fmt::format("header length {} exceeds the limit of {} bytes", length, kMaxHeaderBytes));
  }
  if (length == 0 || start[kLengthBytes] != '{') return refuse("the header does not begin with {");
  return length;
}

// Reads exactly into.size() bytes; a file that ends earlier is a failure.
Status read_exactly(InputFile& file, std::span<char> into, const std::string& path) {
  const auto count = file.read(into);
  if (!count.ok()) return count.status();
  if (count.value() < into.size()) {
    return fail(path, "became shorter while it was read", "try again when nothing writes it");
  }
  return Status();
}

// A JSON string with its quotes, or nothing if `text` is not UTF-8.
std::optional<std::string> json_string(const std::string& text) {
  if (!is_utf8(text)) return std::nullopt;
  return json(text).dump();
}

}  // namespace

Result<SafetensorsFile> parse_safetensors(std::string_view bytes, const std::string& name) {
  const auto length = header_length(bytes.substr(0, kLengthBytes + 1), bytes.size(), name);
  if (!length.ok()) return length.status();
  const std::string_view header = bytes.substr(kLengthBytes, length.value());
  const std::string_view data = bytes.substr(kLengthBytes + length.value());
  auto layout = parse_header(header, data.size(), name);
  if (!layout.ok()) return layout.status();
  SafetensorsFile file{.tensors = {}, .metadata = std::move(layout.value().metadata)};
  for (PlacedTensor& placed : layout.value().tensors) {
    placed.tensor.data.assign(data.begin() + placed.begin_bytes, data.begin() + placed.end_bytes);
    file.tensors.push_back(std::move(placed.tensor));
  }
  return file;
}

Result<SafetensorsFile> read_safetensors(const std::string& path) {
  auto input = InputFile::open(path);
  if (!input.ok()) return input.status();
  const auto file_bytes = input.value().size_bytes();
  if (!file_bytes.ok()) return file_bytes.status();

  std::string start(std::min(file_bytes.value(), kLengthBytes + 1), '\0');
  CLUTCH_RETURN_IF_ERROR(read_exactly(input.value(), start, path));
  const auto length = header_length(start, file_bytes.value(), path);
  if (!length.ok()) return length.status();

  std::string header = start.substr(kLengthBytes);  // its first byte, read already
  header.resize(length.value());
  CLUTCH_RETURN_IF_ERROR(read_exactly(input.value(), std::span(header).subspan(1), path));
  auto layout = parse_header(header, file_bytes.value() - kLengthBytes - length.value(), path);
  if (!layout.ok()) return layout.status();

  SafetensorsFile file{.tensors = {}, .metadata = std::move(layout.value().metadata)};
  for (PlacedTensor& placed : layout.value().tensors) {
    std::vector<std::int8_t>& data = placed.tensor.data;
    data.resize(placed.end_bytes - placed.begin_bytes);
    const std::span<char> bytes(reinterpret_cast<char*>(data.data()), data.size());
    CLUTCH_RETURN_IF_ERROR(read_exactly(input.value(), bytes, path));
    file.tensors.push_back(std::move(placed.tensor));
  }
  return file;
}

Result<std::string> safetensors_header(const SafetensorsFile& file, const std::string& name) {
  const auto not_utf8 = [&](std::string_view what, const std::string& key) {
    return fail(name, fmt::format("{} {} is not UTF-8", what, shown(key)),
                "use UTF-8 text, as JSON needs it");
  };
  std::vector<std::string> fields;
  if (!file.metadata.empty()) {
    std::vector<std::string> pairs;
    for (const auto& [key, value] : file.metadata) {
      const auto json_key = json_string(key), json_value = json_string(value);
      if (!json_key || !json_value) return not_utf8("metadata", key);
      pairs.push_back(*json_key + ":" + *json_value);
    }
    fields.push_back(fmt::format(R"("{}":{{{}}})", kMetadataKey, fmt::join(pairs, ",")));
  }
  std::set<std::string_view> names = {kMetadataKey};
  std::size_t filled = 0;
  for (const Tensor& tensor : file.tensors) {
    check(names.insert(tensor.name).second, "a tensor's name is its own, and not that of the metadata");
    const auto count = element_count(tensor.shape);
    check(count && *count * bytes_of(tensor.type) == std::int64_t(tensor.data.size()),
          "a tensor's data fills its shape");
    const auto json_name = json_string(tensor.name);
    if (!json_name) return not_utf8("the tensor name", tensor.name);
    fields.push_back(fmt::format(R"({}:{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", *json_name,
                                 tensor.type == ElementType::kInt8 ? "I8" : "I32",
                                 fmt::join(tensor.shape, ","), filled, filled + tensor.data.size()));
    filled += tensor.data.size();
  }
  std::string header = fmt::format("{{{}}}", fmt::join(fields, ","));
  header.resize((header.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  if (header.size() > kMaxHeaderBytes) {
    return fail(
        name,
        fmt::format("the header would have {} bytes, over the limit of {}", header.size(), kMaxHeaderBytes),
        "store less metadata or fewer tensors");
  }
  std::string length(kLengthBytes, '\0');
  for (std::size_t i = 0; i < kLengthBytes; ++i) length[i] = static_cast<char>(header.size() >> (8 * i));
  return length + header;
}

Status write_safetensors(const std::string& path, const SafetensorsFile& file) {
  const auto header = safetensors_header(file, path);
  if (!header.ok()) return header.status();
  std::vector<std::string_view> pieces = {header.value()};
  for (const Tensor& tensor : file.tensors) {
    pieces.emplace_back(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
  }
  return write_file_atomically(path, pieces);
}

}  // namespace clutch
