// Reading and atomic writing of files, on POSIX calls: the standard library can neither sync nor report why.
#include "base/files.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace clutch {
namespace {

const char* way_out(int error) {
  switch (error) {
    case ENOENT:
      return "check the path; folders must exist";
    case EACCES:
    case EPERM:
      return "check the permissions of the file and its folder";
    case ENOSPC:
    case EDQUOT:
      return "free some space or choose another folder";
    case EROFS:
      return "choose a folder that can be written";
    case EISDIR:
      return "name a file, not a folder";
    default:
      return "try another folder or disk";
  }
}

Status system_failure(const std::string& path, std::string_view action, int error) {
  return fail(path, fmt::format("cannot {} it: {}", action, std::generic_category().message(error)),
              way_out(error));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  // Some network file systems report a full disk only here. Returns 0 or an errno.
  int close() { return ::close(std::exchange(fd_, -1)) == 0 ? 0 : errno; }

 private:
  int fd_;
};

// The functions below return 0 or an errno.

int write_all(int fd, std::string_view bytes) {
  constexpr std::size_t kMaxWriteBytes = 1 << 30;  // one call takes less than 2 GiB on every system
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), std::min(bytes.size(), kMaxWriteBytes));
    if (written < 0 && errno != EINTR) return errno;
    if (written > 0) bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int write_and_sync(const std::string& path, std::span<const std::string_view> pieces) {
  // Truncates: a run that died may have left one, and in containers process ids repeat.
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (file.get() < 0) return errno;
  for (const std::string_view piece : pieces) {
    if (const int error = write_all(file.get(), piece); error != 0) return error;
  }
  if (::fsync(file.get()) != 0) return errno;
  return file.close();
}

int rename_and_sync(const std::string& from, const std::string& to) {
  const std::string folder = std::filesystem::path(to).parent_path().string();
  // Opened before the renaming, so that failing to leaves the old file in place.
  Descriptor directory(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) return errno;
  if (std::rename(from.c_str(), to.c_str()) != 0) return errno;
  // EINVAL: this file system has no syncing of folders; there is nothing better to do there.
  if (::fsync(directory.get()) != 0 && errno != EINVAL) return errno;
  return 0;
}

}  // namespace

Result<InputFile> InputFile::open(const std::string& path) {
  std::FILE* stream = std::fopen(path.c_str(), "rb");
  if (stream == nullptr) return system_failure(path, "open", errno);
  return InputFile(path, stream);
}

Result<std::uint64_t> InputFile::size_bytes() const {
  struct stat info;
  if (::fstat(::fileno(stream_.get()), &info) != 0) return system_failure(path_, "measure", errno);
  if (S_ISDIR(info.st_mode)) return system_failure(path_, "read", EISDIR);
  if (!S_ISREG(info.st_mode)) {
    return fail(path_, "is a pipe or a device, whose size is unknown", "save it to a file first");
  }
  return static_cast<std::uint64_t>(info.st_size);
}

Result<std::size_t> InputFile::read(std::span<char> into) {
  const std::size_t count = std::fread(into.data(), 1, into.size(), stream_.get());
  if (count < into.size() && std::ferror(stream_.get()) != 0) return system_failure(path_, "read", errno);
  return count;
}

Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes) {
  constexpr std::size_t kChunkBytes = 1 << 20;
  const auto too_large = [&] {
    return fail(path, fmt::format("has more than {} bytes, the limit here", max_bytes), "use a smaller file");
  };
  auto file = InputFile::open(path);
  if (!file.ok()) return file.status();
  std::string bytes;
  // The size only saves reallocations: pipes have none, and a file may be growing.
  if (const auto size = file.value().size_bytes(); size.ok()) {
    if (size.value() > max_bytes) return too_large();
    bytes.reserve(size.value() + kChunkBytes);
  }
  for (;;) {
    const std::size_t old_size = bytes.size();
    bytes.resize(old_size + kChunkBytes);
    const auto count = file.value().read(std::span(bytes).subspan(old_size));
    if (!count.ok()) return count.status();
    bytes.resize(old_size + count.value());
    if (bytes.size() > max_bytes) return too_large();
    if (count.value() < kChunkBytes) return bytes;
  }
}

Status write_file_atomically(const std::string& path, std::span<const std::string_view> pieces) {
  // Renaming over a device would replace it: as root, even /dev/null.
  struct stat info;
  if (::stat(path.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return fail(path, "exists and is not a regular file", "choose another path");
  }
  const std::string temporary = fmt::format("{}.tmp-{}", path, ::getpid());
  int error = write_and_sync(temporary, pieces);
  if (error == 0) error = rename_and_sync(temporary, path);
  if (error == 0) return Status();
  ::unlink(temporary.c_str());  // fails if there is none, which is as good
  return system_failure(path, "write", error);
}

}  // namespace clutch
