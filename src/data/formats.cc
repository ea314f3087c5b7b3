#include "data/formats.h"

#include <fmt/format.h>
#include <zstd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

namespace clutch {
namespace {

// One little-endian value of 1, 2 or 4 bytes; those of 4 bytes are signed.
std::int64_t read_value(const char* bytes, std::size_t value_bytes) {
  std::uint32_t bits = 0;
  for (std::size_t i = 0; i < value_bytes; ++i) {
    bits |= std::uint32_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return value_bytes == 4 ? std::int64_t{static_cast<std::int32_t>(bits)} : std::int64_t{bits};
}

// Appends the values of `payload`, whose size is a multiple of value_bytes.
Status append_values(std::string_view payload, std::size_t value_bytes, const std::string& name,
                     const TokenLimits& limits, std::vector<Token>& tokens) {
  const std::size_t count = payload.size() / value_bytes;
  const std::size_t first = tokens.size();
  if (first > limits.max_tokens || count > limits.max_tokens - first) {
    return fail(name, fmt::format("takes the corpus past {} tokens", limits.max_tokens),
                "use less text at once");
  }
  tokens.resize(first + count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t value = read_value(payload.data() + i * value_bytes, value_bytes);
    if (value < 0 || value >= std::int64_t{limits.vocab}) {
      return fail(
          name,
          fmt::format("value {} at position {} is outside the vocabulary of {}", value, i, limits.vocab),
          fmt::format("map every value into 0..{}, or use a larger vocabulary", limits.vocab - 1));
    }
    tokens[first + i] = static_cast<Token>(value);
  }
  return {};
}

// A reader of the Python dictionary in an .npy header, as far as NumPy writes them: quoted keys; values that
// are quoted, a name, or a parenthesis without nesting.
class DictReader {
 public:
  explicit DictReader(std::string_view text) : text_(text) {}

  bool eat(char c) {
    skip_spaces();
    if (text_.empty() || text_.front() != c) return false;
    text_.remove_prefix(1);
    return true;
  }

  std::optional<std::string_view> quoted() {
    for (const char quote : {'\'', '"'}) {
      if (eat(quote)) return up_to(quote);
    }
    return std::nullopt;
  }

  // What stands between the parentheses.
  std::optional<std::string_view> parenthesis() { return eat('(') ? up_to(')') : std::nullopt; }

  bool eat_boolean() {
    skip_spaces();
    for (const std::string_view word : {"True", "False"}) {
      if (!text_.starts_with(word)) continue;
      text_.remove_prefix(word.size());
      return true;
    }
    return false;
  }

  bool at_end() {
    skip_spaces();
    return text_.empty();
  }

 private:
  void skip_spaces() { text_.remove_prefix(std::min(text_.find_first_not_of(" \t\n"), text_.size())); }

  // The text before the next `end`, which is eaten too.
  std::optional<std::string_view> up_to(char end) {
    const std::size_t size = text_.find(end);
    if (size == std::string_view::npos) return std::nullopt;
    const std::string_view inside = text_.substr(0, size);
    text_.remove_prefix(size + 1);
    return inside;
  }

  std::string_view text_;
};

// Views into the header.
struct NpyFields {
  std::string_view descr;  // dtype
  std::string_view shape;  // what stands between its parentheses
};

// Nothing where the header is not a dictionary of exactly the three keys of the format. fortran_order makes
// no difference to one dimension, so its value is dropped.
std::optional<NpyFields> read_npy_fields(std::string_view header) {
  std::optional<std::string_view> descr, shape;
  bool has_order = false;
  DictReader reader(header);
  if (!reader.eat('{')) return std::nullopt;
  while (!reader.eat('}')) {
    const std::optional<std::string_view> key = reader.quoted();
    if (!key || !reader.eat(':')) return std::nullopt;
    if (*key == "descr" && !descr) {
      if (!(descr = reader.quoted())) return std::nullopt;
    } else if (*key == "shape" && !shape) {
      if (!(shape = reader.parenthesis())) return std::nullopt;
    } else if (*key == "fortran_order" && !has_order) {
      if (!(has_order = reader.eat_boolean())) return std::nullopt;
    } else {
      return std::nullopt;
    }
    if (!reader.eat(',')) {
      if (!reader.eat('}')) return std::nullopt;
      break;
    }
  }
  if (!reader.at_end() || !descr || !shape || !has_order) return std::nullopt;
  return NpyFields{*descr, *shape};
}

// The length of a one-dimensional shape "N,"; nothing for any other.
std::optional<std::uint64_t> read_npy_length(std::string_view shape) {
  std::uint64_t length = 0;
  const char* const end = shape.data() + shape.size();
  const auto [rest, error] = std::from_chars(shape.data(), end, length);
  if (error != std::errc() || std::string_view(rest, end) != ",") return std::nullopt;
  return length;
}

// What a message shows of a file's own words: short, and nothing that a terminal would obey.
std::string excerpt(std::string_view words) {
  constexpr std::size_t kMaxShown = 40;
  std::string shown(words.substr(0, kMaxShown));
  for (char& c : shown) {
    if (c < ' ' || c > '~') c = '?';
  }
  return words.size() > kMaxShown ? shown + "…" : shown;
}

// Bytes per value of an accepted dtype, 0 for any other.
std::size_t npy_value_bytes(std::string_view descr) {
  if (descr == "|u1" || descr == "<u1") return 1;
  if (descr == "<u2") return 2;
  if (descr == "<i4") return 4;
  return 0;
}

struct NpyParts {
  std::string_view header, payload;
};

// Cuts the file after its magic, version and header length.
Result<NpyParts> split_npy(std::string_view bytes, const std::string& name) {
  constexpr std::string_view kMagic = "\x93NUMPY";
  constexpr std::size_t kVersionBytes = 2;
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kVersionBytes) {
    return fail(name, "does not start like a NumPy file",
                "save it with numpy.save, or rename a text file to .txt");
  }
  const int major = static_cast<unsigned char>(bytes[kMagic.size()]);
  const int minor = static_cast<unsigned char>(bytes[kMagic.size() + 1]);
  if ((major != 1 && major != 2) || minor != 0) {
    return fail(name, fmt::format("NumPy format version {}.{} is not 1.0 or 2.0", major, minor),
                "save it with numpy.lib.format.write_array(file, array, version=(1, 0))");
  }
  bytes.remove_prefix(kMagic.size() + kVersionBytes);
  const std::size_t length_bytes = major == 1 ? 2 : 4;
  if (bytes.size() < length_bytes) {
    return fail(name, "ends inside its header length", "copy or save it again, it is truncated");
  }
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    header_bytes |= std::uint64_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  bytes.remove_prefix(length_bytes);
  if (header_bytes > bytes.size()) {
    return fail(name, fmt::format("header length {} passes the {} bytes left", header_bytes, bytes.size()),
                "copy or save it again, it is truncated or damaged");
  }
  return NpyParts{bytes.substr(0, header_bytes), bytes.substr(header_bytes)};
}

}  // namespace

Status append_text(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                   std::vector<Token>& tokens) {
  return append_values(bytes, 1, name, limits, tokens);
}

Status append_bin(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                  std::vector<Token>& tokens) {
  if (bytes.size() % 2 != 0) {
    return fail(name, fmt::format("{} bytes are not a whole number of uint16 values", bytes.size()),
                "save it with array.astype('<u2').tofile, or rename a text file to .txt");
  }
  return append_values(bytes, 2, name, limits, tokens);
}

Status append_npy(std::string_view bytes, const std::string& name, const TokenLimits& limits,
                  std::vector<Token>& tokens) {
  const Result<NpyParts> parts = split_npy(bytes, name);
  if (!parts.ok()) return parts.status();
  const std::string_view payload = parts.value().payload;
  const std::optional<NpyFields> fields = read_npy_fields(parts.value().header);
  if (!fields) {
    return fail(name, "header is not a dictionary of 'descr', 'fortran_order' and 'shape' of a plain array",
                "save it with numpy.save as an array of integers");
  }
  const std::size_t value_bytes = npy_value_bytes(fields->descr);
  if (value_bytes == 0) {
    return fail(
        name,
        fmt::format("dtype '{}' is not uint8, or little-endian uint16 or int32", excerpt(fields->descr)),
        "save it with array.astype('<u2')");
  }
  const std::optional<std::uint64_t> length = read_npy_length(fields->shape);
  if (!length) {
    return fail(name, fmt::format("shape ({}) is not of one dimension", excerpt(fields->shape)),
                "save it with array.reshape(-1)");
  }
  // Compared by division, because length * value_bytes can pass 64 bits.
  if (payload.size() / value_bytes != *length || payload.size() % value_bytes != 0) {
    return fail(
        name,
        fmt::format("shape ({},) of {}-byte values does not match the {} bytes that follow the header",
                    *length, value_bytes, payload.size()),
        "copy or save it again, it is truncated or damaged");
  }
  return append_values(payload, value_bytes, name, limits, tokens);
}

Result<std::string> decompress_zstd(std::string_view bytes, const std::string& name,
                                    std::uint64_t max_bytes) {
  const std::unique_ptr<ZSTD_DCtx, decltype(&ZSTD_freeDCtx)> context(ZSTD_createDCtx(), &ZSTD_freeDCtx);
  check(context != nullptr, "libzstd has memory for a context");
  std::string chunk(ZSTD_DStreamOutSize(), '\0');
  std::string content;
  ZSTD_inBuffer input = {bytes.data(), bytes.size(), 0};
  std::size_t wanted = 1;  // 0 at the end of a frame
  // libzstd takes the last byte of a frame only when all of its content is out, so an empty input is the end.
  while (input.pos < input.size) {
    ZSTD_outBuffer output = {chunk.data(), chunk.size(), 0};
    wanted = ZSTD_decompressStream(context.get(), &output, &input);
    if (ZSTD_isError(wanted)) {
      return fail(name, fmt::format("cannot be decompressed: {}", ZSTD_getErrorName(wanted)),
                  "check it with 'zstd --test' and copy it again");
    }
    if (output.pos > max_bytes - content.size()) {
      return fail(name, fmt::format("decompresses to more than {} bytes", max_bytes),
                  "use less text at once");
    }
    content.append(chunk.data(), output.pos);
  }
  if (wanted != 0) {
    return fail(name, fmt::format("ends inside a Zstandard frame, after {} bytes", bytes.size()),
                "copy it again, it is truncated");
  }
  return content;
}

}  // namespace clutch
