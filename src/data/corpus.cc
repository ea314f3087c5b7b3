#include "data/corpus.h"

#include <fmt/format.h>
#include <xxhash.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <new>
#include <string_view>
#include <system_error>

#include "base/files.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStandardInput = "-";

// Hashes in chunks written byte by byte, so that the digest is the same on a big-endian machine.
std::uint64_t digest_of(const std::vector<Token>& tokens) {
  constexpr std::size_t kChunkTokens = 4096;
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), &XXH3_freeState);
  check(state != nullptr, "xxhash has memory for a state");
  XXH3_64bits_reset(state.get());
  unsigned char chunk[2 * kChunkTokens];
  for (std::size_t first = 0; first < tokens.size(); first += kChunkTokens) {
    const std::size_t count = std::min(kChunkTokens, tokens.size() - first);
    for (std::size_t i = 0; i < count; ++i) {
      chunk[2 * i] = static_cast<unsigned char>(tokens[first + i] & 0xFF);
      chunk[2 * i + 1] = static_cast<unsigned char>(tokens[first + i] >> 8);
    }
    XXH3_64bits_update(state.get(), chunk, 2 * count);
  }
  return XXH3_64bits_digest(state.get());
}

// Standard input to its end, or to the first byte past max_bytes, which the parser of text then refuses.
// Not by way of /dev/stdin, which cannot be opened where it is a socket.
Result<std::string> read_standard_input(std::uint64_t max_bytes) {
  std::string bytes;
  std::vector<char> chunk(std::size_t{1} << 20);
  while (bytes.size() <= max_bytes) {
    const std::size_t count = std::fread(chunk.data(), 1, chunk.size(), stdin);
    if (count == 0) break;
    bytes.append(chunk.data(), count);
  }
  if (std::ferror(stdin) != 0) {
    return fail("standard input", "cannot be read: " + std::generic_category().message(errno),
                "check the command before the pipe, or name a file");
  }
  return bytes;
}

// Adds one file, or standard input, after a separator where it is not the first.
Status append_file(const std::string& path, const TokenLimits& limits, std::vector<Token>& tokens) {
  const bool from_stdin = path == kStandardInput;
  const std::string name = from_stdin ? "standard input" : path;
  std::string_view content_name = path;
  const bool compressed = content_name.ends_with(".zst");
  if (compressed) content_name.remove_suffix(4);
  const bool npy = content_name.ends_with(".npy"), bin = content_name.ends_with(".bin");

  const std::uint64_t left = limits.max_tokens - tokens.size();
  const std::uint64_t max_bytes = npy ? 4 * left + kMaxNpyHeaderBytes : bin ? 2 * left : left;
  Result<std::string> bytes = from_stdin
                                  ? read_standard_input(max_bytes)
                                  : read_file(path, compressed ? ZSTD_compressBound(max_bytes) : max_bytes);
  if (bytes.ok() && compressed) bytes = decompress_zstd(bytes.value(), name, max_bytes);
  if (!bytes.ok()) return bytes.status();

  if (!tokens.empty()) tokens.push_back(kDocumentSeparator);
  const std::size_t before = tokens.size();
  const auto append = npy ? append_npy : bin ? append_bin : append_text;
  CLUTCH_RETURN_IF_ERROR(append(bytes.value(), name, limits, tokens));
  if (tokens.size() == before) return fail(name, "is empty", "leave it out or put text in it");
  return {};
}

// The files of a folder, as load_corpus describes.
Result<std::vector<std::string>> list_folder(const std::string& folder) {
  std::vector<std::string> files;
  std::error_code error;
  fs::recursive_directory_iterator entry(folder, error);
  for (; !error && entry != fs::end(entry); entry.increment(error)) {
    std::error_code ignored;  // a broken link is not a regular file
    if (entry->path().filename().string().starts_with('.')) {
      entry.disable_recursion_pending();
    } else if (entry->is_regular_file(ignored)) {
      files.push_back(entry->path().generic_string());
    }
  }
  if (error) {
    return fail(folder, "cannot be listed: " + error.message(), "check the permissions of its folders");
  }
  if (files.empty()) return fail(folder, "is a folder without files", "put text in it or name another");
  std::sort(files.begin(), files.end());
  return files;
}

Status append_path(const std::string& path, const TokenLimits& limits, std::vector<Token>& tokens) {
  std::error_code ignored;  // what does not exist is reported by append_file
  if (path == kStandardInput || !fs::is_directory(path, ignored)) return append_file(path, limits, tokens);
  const Result<std::vector<std::string>> files = list_folder(path);
  if (!files.ok()) return files.status();
  for (const std::string& file : files.value()) CLUTCH_RETURN_IF_ERROR(append_file(file, limits, tokens));
  return {};
}

}  // namespace

Corpus make_corpus(std::vector<Token> tokens, std::uint32_t vocab) {
  const std::uint64_t digest = digest_of(tokens);
  return {std::move(tokens), vocab, digest};
}

Result<Corpus> load_corpus(const std::vector<std::string>& paths, std::uint32_t vocab,
                           std::uint64_t max_tokens) {
  if (vocab < 2 || vocab > kMaxVocab) {
    return fail("vocabulary", fmt::format("{} is not in 2..{}", vocab, kMaxVocab), "use 256 for text");
  }
  if (paths.empty()) return fail("corpus", "no file is given", "name a text file, a folder, or '-'");
  if (std::count(paths.begin(), paths.end(), kStandardInput) > 1) {
    return fail("standard input", "'-' is given more than once", "give it once");
  }
  std::vector<Token> tokens;
  for (const std::string& path : paths) {
    try {
      CLUTCH_RETURN_IF_ERROR(append_path(path, {vocab, max_tokens}, tokens));
    } catch (const std::bad_alloc&) {
      return fail(path, "does not fit in the memory of this machine", "use less text at once");
    }
  }
  return make_corpus(std::move(tokens), vocab);
}

Result<CorpusSplit> split_tail(Corpus corpus, std::uint32_t held_out_permille, std::uint64_t min_tokens) {
  if (held_out_permille < 1 || held_out_permille > 999) {
    return fail("held-out text", fmt::format("{} thousandths are not in 1..999", held_out_permille),
                "hold out 50, for example");
  }
  const std::uint64_t total = corpus.tokens.size();
  const std::uint64_t held_out = total * held_out_permille / 1000;  // total <= 2^34: no overflow
  if (held_out < min_tokens || total - held_out < min_tokens) {
    return fail(
        "held-out text",
        fmt::format("{} thousandths of {} tokens leave {} to train on and {} held out, and each needs {}",
                    held_out_permille, total, total - held_out, held_out, min_tokens),
        "give more text, another fraction, or shorter windows");
  }
  const auto middle = corpus.tokens.end() - static_cast<std::ptrdiff_t>(held_out);
  std::vector<Token> tail(middle, corpus.tokens.end());
  corpus.tokens.erase(middle, corpus.tokens.end());
  return CorpusSplit{make_corpus(std::move(corpus.tokens), corpus.vocab),
                     make_corpus(std::move(tail), corpus.vocab)};
}

}  // namespace clutch
