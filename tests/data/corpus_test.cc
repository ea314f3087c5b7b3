// Loading a corpus from files, folders and standard input, its digest and its split.
#include "data/corpus.h"

#include <gtest/gtest.h>
#include <unistd.h>
#include <xxhash.h>

#include <cstdio>

#include "data/test_files.h"

namespace clutch {
namespace {

namespace fs = std::filesystem;

std::vector<Token> text_tokens(const std::string& text) {
  std::vector<Token> tokens;
  for (const char c : text) tokens.push_back(static_cast<unsigned char>(c));
  return tokens;
}

// The tokens of a load that has to succeed.
std::vector<Token> load(const std::vector<std::string>& paths, std::uint32_t vocab = 256) {
  const Result<Corpus> corpus = load_corpus(paths, vocab);
  EXPECT_EQ(corpus.status().message(), "ok");
  return corpus.ok() ? corpus.value().tokens : std::vector<Token>();
}

std::string failure(const std::vector<std::string>& paths, std::uint32_t vocab = 256,
                    std::uint64_t max_tokens = kMaxCorpusTokens) {
  return load_corpus(paths, vocab, max_tokens).status().message();
}

// Puts a file in the place of standard input while it lives.
class StdinFrom {
 public:
  explicit StdinFrom(const std::string& path) : saved_(dup(STDIN_FILENO)) {
    std::FILE* file = std::fopen(path.c_str(), "rb");
    dup2(fileno(file), STDIN_FILENO);
    std::fclose(file);
    std::clearerr(stdin);
  }
  ~StdinFrom() {
    dup2(saved_, STDIN_FILENO);
    close(saved_);
    std::clearerr(stdin);
  }

 private:
  int saved_;
};

TEST(LoadCorpus, ReadsEveryKindOfFile) {
  const TempFolder folder;
  const std::vector<Token> expected = text_tokens("ab");
  const std::string npy = npy_file(npy_header("|u1", "(2,)"), "ab");
  const std::string bin("a\0b\0", 4);
  EXPECT_EQ(load({folder.write("a.txt", "ab")}), expected);
  EXPECT_EQ(load({folder.write("no suffix", "ab")}), expected);
  EXPECT_EQ(load({folder.write("a.npy", npy)}), expected);
  EXPECT_EQ(load({folder.write("a.bin", bin)}), expected);
  EXPECT_EQ(load({folder.write("a.txt.zst", zstd_frame("ab"))}), expected);
  EXPECT_EQ(load({folder.write("a.zst", zstd_frame("a") + zstd_frame("b"))}), expected);
  EXPECT_EQ(load({folder.write("a.npy.zst", zstd_frame(npy))}), expected);
  EXPECT_EQ(load({folder.write("a.bin.zst", zstd_frame(bin))}), expected);
}

TEST(LoadCorpus, PutsASeparatorBetweenFiles) {
  const TempFolder folder;
  const std::string text = folder.write("a.txt", "ab"), bin = folder.write("b.bin", std::string("c\0", 2));
  EXPECT_EQ(load({text, bin, text}), text_tokens(std::string("ab\0c\0ab", 7)));
}

TEST(LoadCorpus, ReadsStandardInput) {
  const TempFolder folder;
  const StdinFrom input(folder.write("input", "from a pipe"));
  EXPECT_EQ(load({"-"}), text_tokens("from a pipe"));
}

TEST(LoadCorpus, NamesStandardInput) {
  const TempFolder folder;
  const StdinFrom input(folder.write("input", "a pipe"));
  EXPECT_EQ(failure({"-"}, 100),
            "standard input: value 112 at position 2 is outside the vocabulary of 100; map every value into "
            "0..99, or use a larger vocabulary");
  EXPECT_EQ(failure({"-", "-"}), "standard input: '-' is given more than once; give it once");
}

TEST(LoadCorpus, ReadsFoldersInOrder) {
  const TempFolder folder;
  folder.write("text/b", "3");
  folder.write("text/a/z", "1");
  folder.write("text/a.txt", "0");  // '.' comes before '/'
  folder.write("text/a/\xC3\xA9", "2");
  folder.write("text/B", "-");
  folder.write("text/.hidden", "x");
  folder.write("text/.git/config", "x");
  fs::create_symlink(folder.path("nowhere"), folder.path("text/broken"));
  fs::create_directory_symlink(folder.path("text"), folder.path("text/loop"));
  EXPECT_EQ(load({folder.path("text")}), text_tokens(std::string("-\0000\0001\0002\0003", 9)));
}

TEST(LoadCorpus, RefusesFoldersWithoutFiles) {
  const TempFolder folder;
  folder.write("empty/.hidden", "x");
  EXPECT_EQ(failure({folder.path("empty")}),
            folder.path("empty") + ": is a folder without files; put text in it or name another");
}

TEST(LoadCorpus, RefusesMissingFiles) {
  const TempFolder folder;
  EXPECT_EQ(failure({folder.path("missing.txt")}),
            folder.path("missing.txt") +
                ": cannot open it: No such file or directory; check the path; folders must exist");
}

TEST(LoadCorpus, RefusesUnreadableFilesAndFolders) {
  if (geteuid() == 0) GTEST_SKIP() << "root may read everything";
  const TempFolder folder;
  const std::string file = folder.write("secret", "x");
  fs::permissions(file, fs::perms::none);
  EXPECT_EQ(failure({file}),
            file + ": cannot open it: Permission denied; check the permissions of the file and its folder");
  fs::create_directory(folder.path("closed"));
  fs::permissions(folder.path("closed"), fs::perms::none);
  EXPECT_EQ(
      failure({folder.path("closed")}),
      folder.path("closed") + ": cannot be listed: Permission denied; check the permissions of its folders");
  fs::permissions(folder.path("closed"), fs::perms::all);
}

// Linux lets this file be opened and fails to read its first page, like a damaged disk.
TEST(LoadCorpus, ReportsErrorsOfReading) {
  const std::string path = "/proc/self/mem";
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  EXPECT_EQ(failure({path}), path + ": cannot read it: Input/output error; try another folder or disk");
}

TEST(LoadCorpus, ReportsErrorsOfStandardInput) {
  const TempFolder folder;
  const StdinFrom input(folder.path("."));
  EXPECT_EQ(
      failure({"-"}),
      "standard input: cannot be read: Is a directory; check the command before the pipe, or name a file");
}

TEST(LoadCorpus, RefusesEmptyFiles) {
  const TempFolder folder;
  const std::string way_out = ": is empty; leave it out or put text in it";
  for (const std::string& path :
       {folder.write("a.txt", ""), folder.write("a.bin", ""), folder.write("a.txt.zst", zstd_frame("")),
        folder.write("a.npy", npy_file(npy_header("|u1", "(0,)"), ""))}) {
    EXPECT_EQ(failure({path}), path + way_out);
    EXPECT_EQ(failure({folder.write("first", "x"), path}), path + way_out);
  }
}

TEST(LoadCorpus, RefusesDamagedFilesByName) {
  const TempFolder folder;
  const std::string frame = zstd_frame("a frame of text");
  const std::string cut = folder.write("cut.zst", frame.substr(0, frame.size() - 1));
  EXPECT_EQ(failure({cut}), cut + ": ends inside a Zstandard frame, after " +
                                std::to_string(frame.size() - 1) + " bytes; copy it again, it is truncated");
  const std::string empty = folder.write("empty.zst", "");
  EXPECT_EQ(failure({empty}), empty +
                                  ": ends inside a Zstandard frame, after 0 bytes; copy it again, it is "
                                  "truncated");
  const std::string npy = folder.write("a.npy", npy_file(npy_header("<f4", "(1,)"), "abcd"));
  EXPECT_EQ(failure({npy}), npy +
                                ": dtype '<f4' is not uint8, or little-endian uint16 or int32; save it with "
                                "array.astype('<u2')");
  const std::string bin = folder.write("a.bin", "abc");
  EXPECT_EQ(failure({bin}).find(bin + ": 3 bytes are not"), 0u);
}

TEST(LoadCorpus, BoundsAllPathsTogether) {
  const TempFolder folder;
  const std::string three = folder.write("three", "abc");
  const std::string bomb = folder.write("bomb.zst", zstd_frame(std::string(10'000'000, 'x')));
  EXPECT_TRUE(load_corpus({three, three}, 256, 7).ok());  // two files and a separator
  EXPECT_EQ(failure({three, three}, 256, 6),
            three + ": takes the corpus past 6 tokens; use less text at once");
  for (const std::uint64_t max_tokens : {3, 4, 5}) {
    EXPECT_EQ(failure({three, three}, 256, max_tokens), three + ": has more than " +
                                                            std::to_string(max_tokens - 3) +
                                                            " bytes, the limit here; use a smaller file");
  }
  EXPECT_EQ(failure({bomb}, 256, 1000),
            bomb + ": decompresses to more than 1000 bytes; use less text at once");
  const StdinFrom input(three);
  EXPECT_EQ(failure({"-"}, 256, 2), "standard input: takes the corpus past 2 tokens; use less text at once");
}

// The bound is in tokens, whatever a token takes in a file.
TEST(LoadCorpus, BoundsTokensOfEveryKindOfFile) {
  const TempFolder folder;
  const std::string bin = std::string(6, '\0'),
                    npy = npy_file(npy_header("<i4", "(3,)"), std::string(12, '\0'));
  for (const std::string& path :
       {folder.write("a.bin", bin), folder.write("a.npy", npy), folder.write("a", "abc"),
        folder.write("a.bin.zst", zstd_frame(bin)), folder.write("a.npy.zst", zstd_frame(npy)),
        folder.write("a.zst", zstd_frame("abc"))}) {
    EXPECT_EQ(load_corpus({path}, 256, 3).status().message(), "ok");
    EXPECT_FALSE(load_corpus({path}, 256, 2).ok()) << path;
  }
}

TEST(LoadCorpus, StopsReadingWhatHasNoEnd) {
  const std::string path = "/dev/zero";
  if (!fs::exists(path)) GTEST_SKIP() << "no " << path;
  EXPECT_EQ(failure({path}, 256, 1000),
            path + ": has more than 1000 bytes, the limit here; use a smaller file");
  const StdinFrom input(path);
  EXPECT_EQ(failure({"-"}, 256, 1000),
            "standard input: takes the corpus past 1000 tokens; use less text at once");
}

TEST(LoadCorpus, RefusesAnEnormousFileUnread) {
  const TempFolder folder;
  const std::string path = folder.write("sparse", "");
  std::error_code error;
  fs::resize_file(path, std::uintmax_t{1} << 40, error);
  if (error) GTEST_SKIP() << "no file of a terabyte here: " << error.message();
  EXPECT_EQ(failure({path}), path + ": has more than 17179869184 bytes, the limit here; use a smaller file");
}

TEST(LoadCorpus, RefusesBadArguments) {
  EXPECT_EQ(failure({}), "corpus: no file is given; name a text file, a folder, or '-'");
  EXPECT_EQ(failure({"x"}, 1), "vocabulary: 1 is not in 2..65536; use 256 for text");
  EXPECT_EQ(failure({"x"}, 65537), "vocabulary: 65537 is not in 2..65536; use 256 for text");
}

TEST(Corpus, DigestIsOfLittleEndianTokens) {
  const TempFolder folder;
  std::string bytes;  // more than one chunk of the digest
  for (int i = 0; i < 10'000; ++i) bytes += little_endian(static_cast<std::uint64_t>(i) * 40503 & 0xFFFF, 2);
  const Result<Corpus> corpus = load_corpus({folder.write("a.bin", bytes)}, 65536);
  ASSERT_TRUE(corpus.ok());
  EXPECT_EQ(corpus.value().digest, XXH3_64bits(bytes.data(), bytes.size()));
  EXPECT_EQ(corpus.value().vocab, 65536u);
  EXPECT_EQ(make_corpus({1, 2, 3}, 256).digest, XXH3_64bits("\1\0\2\0\3\0", 6));
}

TEST(SplitTail, HoldsOutTheEnd) {
  Result<CorpusSplit> split = split_tail(make_corpus({0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 256), 250, 2);
  ASSERT_TRUE(split.ok());
  EXPECT_EQ(split.value().train.tokens, (std::vector<Token>{0, 1, 2, 3, 4, 5, 6, 7, 8}));
  EXPECT_EQ(split.value().held_out.tokens, (std::vector<Token>{9, 10}));
  EXPECT_EQ(split.value().held_out.vocab, 256u);
  EXPECT_EQ(split.value().train.digest, make_corpus({0, 1, 2, 3, 4, 5, 6, 7, 8}, 256).digest);
  EXPECT_EQ(split.value().held_out.digest, make_corpus({9, 10}, 256).digest);
}

TEST(SplitTail, RefusesPartsThatAreTooShort) {
  const Corpus corpus = make_corpus(std::vector<Token>(100, 1), 256);
  EXPECT_TRUE(split_tail(corpus, 100, 10).ok());
  EXPECT_EQ(
      split_tail(corpus, 100, 11).status().message(),
      "held-out text: 100 thousandths of 100 tokens leave 90 to train on and 10 held out, and each needs 11; "
      "give more text, another fraction, or shorter windows");
  EXPECT_FALSE(split_tail(corpus, 900, 11).ok());
  EXPECT_FALSE(split_tail(make_corpus({}, 256), 100, 1).ok());
}

TEST(SplitTail, RefusesFractionsOutOfRange) {
  const Corpus corpus = make_corpus(std::vector<Token>(100, 1), 256);
  EXPECT_EQ(split_tail(corpus, 0, 0).status().message(),
            "held-out text: 0 thousandths are not in 1..999; hold out 50, for example");
  EXPECT_FALSE(split_tail(corpus, 1000, 0).ok());
}

}  // namespace
}  // namespace clutch
