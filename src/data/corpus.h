// A corpus: all the text of a run as one sequence of tokens in memory, loaded from files, folders or standard
// input, and its split into training and held-out text. What the files may look like is formats.h; which
// tokens a population group reads when is streams.h.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "data/formats.h"

namespace clutch {

constexpr Token kDocumentSeparator = 0;
constexpr std::uint64_t kMaxCorpusTokens = std::uint64_t{1} << 34;

struct Corpus {
  std::vector<Token> tokens;
  std::uint32_t vocab = 0;   // every token is in [0, vocab)
  std::uint64_t digest = 0;  // XXH3, 64 bits, of the tokens as little-endian uint16
};

// Computes the digest.
Corpus make_corpus(std::vector<Token> tokens, std::uint32_t vocab);

// Loads all paths in the order given, with one kDocumentSeparator between any two files. A path is one of
//   -        standard input, as text; at most once
//   folder   its files in all depths, sorted by path as bytes; names that start with '.' and links to folders
//            are skipped
//   *.npy    a one-dimensional NumPy array of uint8, uint16 or int32 tokens
//   *.bin    little-endian uint16 tokens
//   *.zst    any of the other files compressed by zstd: x.npy.zst is an array, x.zst is text
//   others   text: each byte is a token
// vocab is in 2 .. 65536. Fails, naming the file, on what cannot be read or is empty, malformed, or too large
// (max_tokens for all paths together, or this machine's memory).
Result<Corpus> load_corpus(const std::vector<std::string>& paths, std::uint32_t vocab,
                           std::uint64_t max_tokens = kMaxCorpusTokens);

struct CorpusSplit {
  Corpus train, held_out;
};

// Holds out the last held_out_permille thousandths (1 .. 999) of the tokens, rounded down. Fails where the
// fraction is out of range or either part has fewer than min_tokens.
Result<CorpusSplit> split_tail(Corpus corpus, std::uint32_t held_out_permille, std::uint64_t min_tokens);

}  // namespace clutch
