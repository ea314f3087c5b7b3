// The parsers of data/formats.h: what they read, and that each refusal names the file, the value and a way
// out.
#include "data/formats.h"

#include <gtest/gtest.h>

#include "data/test_files.h"

namespace clutch {
namespace {

using Append = Status (*)(std::string_view, const std::string&, const TokenLimits&, std::vector<Token>&);

constexpr std::uint64_t kPlenty = 1000;
constexpr std::uint64_t kHuge = std::uint64_t{1} << 60;

std::vector<Token> tokens_of(Append append, const std::string& bytes, std::uint32_t vocab = 256) {
  std::vector<Token> tokens;
  EXPECT_EQ(append(bytes, "f", {vocab, kPlenty}, tokens).message(), "ok");
  return tokens;
}

std::string message_of(Append append, const std::string& bytes, std::uint32_t vocab = 256,
                       std::uint64_t max_tokens = kPlenty) {
  std::vector<Token> tokens;
  return append(bytes, "f", {vocab, max_tokens}, tokens).message();
}

TEST(Text, EachByteIsAToken) {
  EXPECT_EQ(tokens_of(append_text, std::string("a\0\xFF", 3)), (std::vector<Token>{97, 0, 255}));
  EXPECT_EQ(tokens_of(append_text, ""), std::vector<Token>());
}

TEST(Text, IsAddedToWhatIsThere) {
  std::vector<Token> tokens = {7};
  ASSERT_TRUE(append_text("a", "f", {256, 2}, tokens).ok());
  EXPECT_EQ(tokens, (std::vector<Token>{7, 97}));
  EXPECT_EQ(append_text("b", "f", {256, 2}, tokens).message(),
            "f: takes the corpus past 2 tokens; use less text at once");
}

TEST(Text, RefusesBytesOutsideTheVocabulary) {
  EXPECT_EQ(tokens_of(append_text, "aa", 98), (std::vector<Token>{97, 97}));
  EXPECT_EQ(message_of(append_text, "aab", 98),
            "f: value 98 at position 2 is outside the vocabulary of 98; map every value into 0..97, or use a "
            "larger vocabulary");
}

TEST(Bin, ReadsLittleEndianPairs) {
  EXPECT_EQ(tokens_of(append_bin, std::string("\x01\x00\xFE\xFF", 4), 65536), (std::vector<Token>{1, 65534}));
}

TEST(Bin, RefusesOddSizesAndValues) {
  EXPECT_EQ(message_of(append_bin, "abc"),
            "f: 3 bytes are not a whole number of uint16 values; save it with array.astype('<u2').tofile, or "
            "rename a text file to .txt");
  EXPECT_EQ(
      message_of(append_bin, std::string("\x00\x00\x00\x01", 4)),
      "f: value 256 at position 1 is outside the vocabulary of 256; map every value into 0..255, or use a "
      "larger vocabulary");
}

TEST(Npy, ReadsEveryTypeAndVersion) {
  const std::vector<Token> expected = {1, 2};
  for (const int major : {1, 2}) {
    EXPECT_EQ(tokens_of(append_npy, npy_file(npy_header("|u1", "(2,)"), "\1\2", major)), expected);
    EXPECT_EQ(tokens_of(append_npy, npy_file(npy_header("<u1", "(2,)"), "\1\2", major)), expected);
    const std::string words = little_endian(1, 2) + little_endian(2, 2);
    EXPECT_EQ(tokens_of(append_npy, npy_file(npy_header("<u2", "(2,)"), words, major)), expected);
    const std::string ints = little_endian(1, 4) + little_endian(2, 4);
    EXPECT_EQ(tokens_of(append_npy, npy_file(npy_header("<i4", "(2,)"), ints, major)), expected);
  }
}

TEST(Npy, ReadsKeysInAnyOrderAndQuotes) {
  const std::string header = "{\"shape\":(1,),\"fortran_order\" : True , 'descr':'|u1'}";
  EXPECT_EQ(tokens_of(append_npy, npy_file(header, "\5")), std::vector<Token>{5});
}

TEST(Npy, RefusesOtherFiles) {
  const std::string way_out = "; save it with numpy.save, or rename a text file to .txt";
  EXPECT_EQ(message_of(append_npy, ""), "f: does not start like a NumPy file" + way_out);
  EXPECT_EQ(message_of(append_npy, "\x93NUMPY\1"), "f: does not start like a NumPy file" + way_out);
  EXPECT_EQ(message_of(append_npy, "once upon a time"), "f: does not start like a NumPy file" + way_out);
}

TEST(Npy, RefusesOtherVersions) {
  std::string bytes = npy_file(npy_header("|u1", "(1,)"), "\1", 2);
  bytes[6] = 3;
  EXPECT_EQ(
      message_of(append_npy, bytes),
      "f: NumPy format version 3.0 is not 1.0 or 2.0; save it with numpy.lib.format.write_array(file, array, "
      "version=(1, 0))");
  bytes[6] = 1;
  bytes[7] = 1;
  EXPECT_NE(message_of(append_npy, bytes).find("version 1.1 is not"), std::string::npos);
}

TEST(Npy, RefusesTruncatedHeaders) {
  const std::string bytes = npy_file("{}", "");
  EXPECT_EQ(message_of(append_npy, bytes.substr(0, 9)),
            "f: ends inside its header length; copy or save it again, it is truncated");
  EXPECT_EQ(message_of(append_npy, bytes.substr(0, 11)),
            "f: header length 2 passes the 1 bytes left; copy or save it again, it is truncated or damaged");
  const std::string huge = std::string("\x93NUMPY\2\0", 8) + "\xFF\xFF\xFF\xFF{}";
  EXPECT_NE(message_of(append_npy, huge).find("header length 4294967295 passes the 2 bytes left"),
            std::string::npos);
}

TEST(Npy, RefusesMalformedHeaders) {
  const std::string expected =
      "f: header is not a dictionary of 'descr', 'fortran_order' and 'shape' of a plain array; save it with "
      "numpy.save as an array of integers";
  for (const std::string header : {
           "",
           "{",
           "{}",
           "descr",
           "{'descr'",
           "{'descr': }",
           "{'descr': '|u1', 'shape': (1,)}",
           "{'descr': '|u1', 'fortran_order': False}",
           "{'fortran_order': False, 'shape': (1,)}",
           "{'descr': '|u1', 'fortran_order': Maybe, 'shape': (1,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (1,}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': 1}",
           "{'descr': '|u1', 'fortran_order': False 'shape': (1,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (1,)} x",
           "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,)}",
           "{'descr': '|u1', 'fortran_order': False, 'shape': (1,), 'more': 1}",
           "{'descr': [('a', '<u2')], 'fortran_order': False, 'shape': (1,)}",
       }) {
    EXPECT_EQ(message_of(append_npy, npy_file(header, "\1")), expected) << header;
  }
}

TEST(Npy, RefusesOtherTypes) {
  EXPECT_EQ(
      message_of(append_npy, npy_file(npy_header("<f4", "(1,)"), "abcd")),
      "f: dtype '<f4' is not uint8, or little-endian uint16 or int32; save it with array.astype('<u2')");
  for (const std::string descr : {">u2", ">i4", "<i8", "<i2", "|i1", "|O", ""}) {
    EXPECT_NE(message_of(append_npy, npy_file(npy_header(descr, "(1,)"), "\1\0\0\0")).find("dtype '" + descr),
              std::string::npos);
  }
}

TEST(Npy, ShowsLittleOfAFilesOwnWords) {
  const std::string message = message_of(append_npy, npy_file(npy_header("\x1B[31m\xFF", "(1,)"), "\1"));
  EXPECT_NE(message.find("dtype '?[31m?' is not"), std::string::npos) << message;
  const std::string shape = "(" + std::string(1000, '1') + ")";
  EXPECT_EQ(
      message_of(append_npy, npy_file(npy_header("|u1", shape), "\1")),
      "f: shape (" + std::string(40, '1') + "…) is not of one dimension; save it with array.reshape(-1)");
}

TEST(Npy, RefusesOtherShapes) {
  EXPECT_EQ(message_of(append_npy, npy_file(npy_header("|u1", "(1, 2)"), "\1\2")),
            "f: shape (1, 2) is not of one dimension; save it with array.reshape(-1)");
  for (const std::string shape : {"()", "(,)", "(2)", "(-2,)", "(2.0,)", "(99999999999999999999,)"}) {
    EXPECT_NE(
        message_of(append_npy, npy_file(npy_header("|u1", shape), "\1\2")).find("shape " + shape + " is not"),
        std::string::npos);
  }
}

TEST(Npy, RefusesSizesThatDoNotMatch) {
  const std::string four = "\1\1\1\1";
  EXPECT_EQ(
      message_of(append_npy, npy_file(npy_header("<u2", "(3,)"), four)),
      "f: shape (3,) of 2-byte values does not match the 4 bytes that follow the header; copy or save it "
      "again, it is truncated or damaged");
  // Too many bytes, by a value and by half a value; counts whose size in bytes passes 64 bits.
  for (const std::string shape : {"(1,)", "(9223372036854775810,)", "(1152921504606846976,)"}) {
    EXPECT_NE(message_of(append_npy, npy_file(npy_header("<u2", shape), four)).find("does not match"),
              std::string::npos);
  }
  EXPECT_NE(message_of(append_npy, npy_file(npy_header("<u2", "(2,)"), four + "\1")).find("the 5 bytes"),
            std::string::npos);
}

TEST(Npy, RefusesValuesOutsideTheVocabulary) {
  EXPECT_NE(message_of(append_npy, npy_file(npy_header("<i4", "(1,)"), "\xFF\xFF\xFF\xFF"))
                .find("value -1 at position 0 is outside the vocabulary of 256"),
            std::string::npos);
  EXPECT_NE(message_of(append_npy, npy_file(npy_header("<i4", "(1,)"), little_endian(65536, 4)), 65536)
                .find("value 65536 at position 0 is outside the vocabulary of 65536"),
            std::string::npos);
}

TEST(Npy, CountsBeforeItAllocates) {
  EXPECT_EQ(message_of(append_npy, npy_file(npy_header("|u1", "(3,)"), "abc"), 256, 2),
            "f: takes the corpus past 2 tokens; use less text at once");
}

TEST(Zstd, RoundTrips) {
  std::string content;  // longer than several of libzstd's output chunks, which are of 128 KiB
  for (int i = 0; i < 100000; ++i) content += "line " + std::to_string(i * 7919 % 1000) + "\n";
  const Result<std::string> result = decompress_zstd(zstd_frame(content), "f", kHuge);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result.value(), content);
}

TEST(Zstd, EndsExactlyAtAChunk) {
  for (const std::size_t size : {std::size_t{0}, ZSTD_DStreamOutSize(), 2 * ZSTD_DStreamOutSize()}) {
    const std::string content(size, 'x');
    const Result<std::string> result = decompress_zstd(zstd_frame(content), "f", size);
    ASSERT_TRUE(result.ok()) << result.status().message();
    EXPECT_EQ(result.value(), content);
  }
}

TEST(Zstd, ReadsConcatenatedFrames) {
  const Result<std::string> result = decompress_zstd(zstd_frame("one ") + zstd_frame("two"), "f", kHuge);
  ASSERT_TRUE(result.ok()) << result.status().message();
  EXPECT_EQ(result.value(), "one two");
}

TEST(Zstd, RefusesEveryTruncation) {
  const std::string frame = zstd_frame("a small frame");
  for (std::size_t size = 0; size < frame.size(); ++size) {
    EXPECT_EQ(decompress_zstd(frame.substr(0, size), "f", kHuge).status().message(),
              "f: ends inside a Zstandard frame, after " + std::to_string(size) +
                  " bytes; copy it again, it is truncated");
  }
}

// Not every flipped bit of a header changes the content, but none may change it unnoticed.
TEST(Zstd, RefusesFlippedBits) {
  const std::string content = "a frame with a checksum of its content";
  const std::string frame = zstd_frame(content);
  for (std::size_t bit = 0; bit < 8 * frame.size(); ++bit) {
    std::string damaged = frame;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ 1 << bit % 8);
    const Result<std::string> result = decompress_zstd(damaged, "f", kHuge);
    EXPECT_EQ(result.ok() ? result.value() : content, content) << "bit " << bit;
  }
  std::string damaged = frame;
  damaged.back() = static_cast<char>(damaged.back() ^ 1);
  EXPECT_EQ(
      decompress_zstd(damaged, "f", kHuge).status().message(),
      "f: cannot be decompressed: Restored data doesn't match checksum; check it with 'zstd --test' and "
      "copy it again");
}

TEST(Zstd, RefusesWhatFollowsAFrame) {
  EXPECT_NE(decompress_zstd(zstd_frame("one") + "rubbish", "f", kHuge)
                .status()
                .message()
                .find("cannot be decompressed"),
            std::string::npos);
}

TEST(Zstd, BoundsWhatItDecompresses) {
  const std::string bomb = zstd_frame(std::string(50'000'000, 'x'));
  ASSERT_LT(bomb.size(), 10'000u);
  EXPECT_EQ(decompress_zstd(bomb, "f", 1'000'000).status().message(),
            "f: decompresses to more than 1000000 bytes; use less text at once");
}

}  // namespace
}  // namespace clutch
