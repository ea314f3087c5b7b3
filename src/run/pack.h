// A run in one file, RUN.clutch: the recipe from which anybody rebuilds the exact model. docs/FORMATS.md has
// it byte by byte.
#pragma once

#include <string>
#include <string_view>

#include "run/replay.h"

namespace clutch {

// Configuration, digests of start and data, and the log's records, zstd-compressed behind a checksum.
Result<std::string> pack(const Recording& recording);

// `name` stands for the file in messages. Sizes are checked before anything is allocated.
Result<Recording> unpack(std::string_view bytes, const std::string& name);

// A run folder, or a packed run where `path` is a file.
Result<Recording> open_recording(const std::string& path);

}  // namespace clutch
