// Text made on the spot, for when there is no text file at hand: short stories for children, from a grammar
// of our own, and a counting sequence. Both are the same bytes on every machine.
#pragma once

#include <cstdint>
#include <string>

#include "base/status.h"

namespace clutch {

// Exactly `bytes` bytes of stories in ASCII, of 110 to 180 words, each of which ends with "\n" and a byte 0;
// the last is cut off where the bytes end. Fewer bytes of a seed are a prefix of more. Takes about 0.1 s per
// MB.
std::string make_stories(std::uint64_t bytes, std::uint64_t seed);

// `bytes` bytes that count 0, 1, …, vocab-1, 0, 1, …: the easiest text there is to learn. Fails unless vocab
// is in 2 .. 256.
Result<std::string> make_count(std::uint64_t bytes, std::uint32_t vocab);

}  // namespace clutch
