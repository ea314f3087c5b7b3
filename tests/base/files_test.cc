// Reading with a limit, and atomic writing: what is left behind when the disk is full, the folder read-only
// or the path no file.
#include "base/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "base/temp_folder.h"

namespace clutch {
namespace {

constexpr std::uint64_t kMegabyte = 1 << 20;

std::string contents(const std::string& path) {
  auto bytes = read_file(path, 64 * kMegabyte);
  return bytes.ok() ? bytes.value() : bytes.status().message();
}

// Mounts a small file system of its own on a folder; needs root, and a mount command that knows tmpfs.
class TinyDisk {
 public:
  explicit TinyDisk(std::string folder) : folder_(std::move(folder)) {
    mounted_ = shell("mount -t tmpfs -o size=64k tmpfs");
  }
  ~TinyDisk() {
    if (mounted_) shell("umount");
  }
  bool mounted() const { return mounted_; }
  bool make_read_only() const { return shell("mount -o remount,ro"); }

 private:
  bool shell(const std::string& command) const {
    return ::system((command + " " + folder_ + " >/dev/null 2>&1").c_str()) == 0;
  }
  std::string folder_;
  bool mounted_;
};

TEST(ReadFile, ReturnsAllBytes) {
  const TempFolder folder;
  // Sizes round the edges of the reader's 1 MiB chunks.
  for (const std::size_t size : {0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20}) {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 31 >> 3);
    ASSERT_TRUE(write_file_atomically(folder / "f", bytes).ok());
    EXPECT_TRUE(contents(folder / "f") == bytes) << size;
  }
}

TEST(ReadFile, StopsAtTheLimit) {
  const TempFolder folder;
  const std::string path = folder / "f";
  ASSERT_TRUE(write_file_atomically(path, std::string(100, 'x')).ok());
  EXPECT_TRUE(read_file(path, 100).ok());
  EXPECT_EQ(read_file(path, 99).status().message(),
            path + ": has more than 99 bytes, the limit here; use a smaller file");
  EXPECT_EQ(read_file("/dev/zero", 3 * kMegabyte).status().message(),
            "/dev/zero: has more than 3145728 bytes, the limit here; use a smaller file");
}

TEST(ReadFile, RefusesAHugeFileUnread) {
  const TempFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "f", "").ok());
  constexpr std::uint64_t kTerabyte = std::uint64_t{1} << 40;
  std::filesystem::resize_file(folder / "f", kTerabyte);  // a hole: takes no space
  EXPECT_FALSE(read_file(folder / "f", kTerabyte - 1).ok());
}

TEST(ReadFile, ReadsAPipe) {
  const TempFolder folder;
  const std::string path = folder / "pipe";
  ASSERT_EQ(::mkfifo(path.c_str(), 0600), 0);
  const std::string sent(300'000, 'p');  // more than a pipe holds at once
  std::thread writer([&] {
    std::FILE* pipe = std::fopen(path.c_str(), "wb");
    std::fwrite(sent.data(), 1, sent.size(), pipe);
    std::fclose(pipe);
  });
  EXPECT_TRUE(contents(path) == sent);
  writer.join();
}

TEST(ReadFile, NamesThePathAndTheReason) {
  const TempFolder folder;
  EXPECT_EQ(
      contents(folder / "none"),
      folder / "none" + ": cannot open it: No such file or directory; check the path; folders must exist");
  EXPECT_EQ(contents(folder.path()),
            folder.path() + ": cannot read it: Is a directory; name a file, not a folder");
}

TEST(InputFile, KnowsTheSizeOfRegularFilesOnly) {
  const TempFolder folder;
  ASSERT_TRUE(write_file_atomically(folder / "f", "12345").ok());
  EXPECT_EQ(InputFile::open(folder / "f").value().size_bytes().value(), 5u);
  EXPECT_EQ(InputFile::open("/dev/null").value().size_bytes().status().message(),
            "/dev/null: is a pipe or a device, whose size is unknown; save it to a file first");
  EXPECT_EQ(InputFile::open(folder.path()).value().size_bytes().status().message(),
            folder.path() + ": cannot read it: Is a directory; name a file, not a folder");
}

TEST(WriteFile, JoinsPiecesAndLeavesNoTemporary) {
  const TempFolder folder;
  const std::vector<std::string_view> pieces = {"one ", "", "two"};
  ASSERT_TRUE(write_file_atomically(folder / "f", pieces).ok());
  EXPECT_EQ(contents(folder / "f"), "one two");
  ASSERT_TRUE(write_file_atomically(folder / "f", "3").ok());
  EXPECT_EQ(contents(folder / "f"), "3");
  EXPECT_EQ(folder.entry_count(), 1);
}

TEST(WriteFile, OverwritesTheTemporaryOfADeadRun) {
  const TempFolder folder;
  const std::string temporary = folder / ("f.tmp-" + std::to_string(::getpid()));
  ASSERT_TRUE(write_file_atomically(temporary, "a longer left-over").ok());
  ASSERT_TRUE(write_file_atomically(folder / "f", "new").ok());
  EXPECT_EQ(contents(folder / "f"), "new");
  EXPECT_EQ(folder.entry_count(), 1);
}

TEST(WriteFile, TakesAPathInTheWorkingFolder) {
  const TempFolder folder;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_TRUE(write_file_atomically("bare", "x").ok());
  std::filesystem::current_path(before);
  EXPECT_EQ(contents(folder / "bare"), "x");
}

TEST(WriteFile, RefusesWhatIsNoFile) {
  const TempFolder folder;
  EXPECT_EQ(write_file_atomically(folder.path(), "x").message(),
            folder.path() + ": exists and is not a regular file; choose another path");
  const std::string pipe = folder / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_EQ(write_file_atomically(pipe, "x").message(),
            pipe + ": exists and is not a regular file; choose another path");
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_EQ(
      write_file_atomically(folder / "none/f", "x").message(),
      folder / "none/f" + ": cannot write it: No such file or directory; check the path; folders must exist");
}

// A limit on file sizes makes a write stop half-way, without root.
TEST(WriteFile, KeepsTheOldFileWhenAWriteStopsHalfWay) {
  const TempFolder folder;
  const std::string path = folder / "f";
  ASSERT_TRUE(write_file_atomically(path, "old").ok());
  ::signal(SIGXFSZ, SIG_IGN);
  struct rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const struct rlimit tight = {.rlim_cur = 1000, .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &tight), 0);
  const Status status = write_file_atomically(path, std::string(5000, 'x'));
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(status.message(), path + ": cannot write it: File too large; try another folder or disk");
  EXPECT_EQ(contents(path), "old");
  EXPECT_EQ(folder.entry_count(), 1);
}

TEST(WriteFile, KeepsTheOldFileWhenTheDiskIsFull) {
  const TempFolder folder;
  const TinyDisk disk(folder.path());
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs (needs root): no full disk to test on";
  const std::string path = folder / "f";
  ASSERT_TRUE(write_file_atomically(path, "old").ok());
  EXPECT_EQ(write_file_atomically(path, std::string(kMegabyte, 'x')).message(),
            path + ": cannot write it: No space left on device; free some space or choose another folder");
  EXPECT_EQ(contents(path), "old");
  EXPECT_EQ(folder.entry_count(), 1);
  EXPECT_TRUE(write_file_atomically(path, std::string(10'000, 'y')).ok()) << "the space was not given back";
}

TEST(WriteFile, ReportsAReadOnlyDisk) {
  const TempFolder folder;
  const TinyDisk disk(folder.path());
  if (!disk.mounted()) GTEST_SKIP() << "cannot mount a tmpfs (needs root): no read-only disk to test on";
  const std::string path = folder / "f";
  ASSERT_TRUE(write_file_atomically(path, "old").ok());
  ASSERT_TRUE(disk.make_read_only());
  EXPECT_EQ(write_file_atomically(path, "new").message(),
            path + ": cannot write it: Read-only file system; choose a folder that can be written");
  EXPECT_EQ(contents(path), "old");
}

TEST(WriteFile, ReportsAReadOnlyFolder) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write to every folder; run as another user";
  const TempFolder folder;
  const std::string path = folder / "f";
  ASSERT_TRUE(write_file_atomically(path, "old").ok());
  ASSERT_EQ(::chmod(folder.path().c_str(), 0500), 0);
  const Status status = write_file_atomically(path, "new");
  ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
  EXPECT_EQ(status.message(), path +
                                  ": cannot write it: Permission denied; check the permissions of the file "
                                  "and its folder");
  EXPECT_EQ(contents(path), "old");
}

}  // namespace
}  // namespace clutch
