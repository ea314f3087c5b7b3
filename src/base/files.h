// Files read and written whole: reading with a limit, and writing so that a crash, a full disk or a second
// reader never sees half a file. Every failure is a Status that names the path, the system's reason and a way
// out. Knows no file format.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/status.h"

namespace clutch {

// A file open for reading, from its start to its end. For formats that must look before they allocate;
// everything else uses read_file.
class InputFile {
 public:
  static Result<InputFile> open(const std::string& path);

  // The size of a regular file. A pipe, a device or a folder has none: a failure.
  Result<std::uint64_t> size_bytes() const;

  // Reads the next into.size() bytes and returns how many there were: fewer only at the end of the file.
  Result<std::size_t> read(std::span<char> into);

 private:
  struct Close {
    void operator()(std::FILE* stream) const { std::fclose(stream); }
  };
  InputFile(std::string path, std::FILE* stream) : path_(std::move(path)), stream_(stream) {}

  std::string path_;
  std::unique_ptr<std::FILE, Close> stream_;
};

// The bytes of a file, which may be a pipe. More than `max_bytes` of them is a failure, found without reading
// further than that.
Result<std::string> read_file(const std::string& path, std::uint64_t max_bytes);

// Makes `path` hold the pieces, one after the other: they are written to `<path>.tmp-<process id>` beside it,
// synced to the disk and renamed over `path`, so that `path` holds either its old bytes or all of the new
// ones. A failure leaves the old file as it was and no temporary behind; only a disk that fails to sync the
// folder after the renaming leaves the new one. A path that exists and is not a regular file is refused; a
// symbolic link to a file is replaced, not followed. Two threads must not write the same path at once.
Status write_file_atomically(const std::string& path, std::span<const std::string_view> pieces);

inline Status write_file_atomically(const std::string& path, std::string_view bytes) {
  return write_file_atomically(path, std::span(&bytes, 1));
}

}  // namespace clutch
