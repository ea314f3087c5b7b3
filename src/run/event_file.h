// TensorBoard's event files: scalars, histograms and text by step. A file is a run of records (TFRecord:
// length, its checksum, bytes, their checksum), each a protocol buffer `Event`; the fields used are listed in
// event_file.cc.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/status.h"

namespace clutch {

// What happened at a step. Names with '/' are grouped by TensorBoard.
struct StepEvents {
  std::uint64_t step = 0;
  double wall_seconds = 0;  // since 1970
  std::vector<std::pair<std::string, double>> scalars;
  std::vector<std::pair<std::string, std::array<std::uint64_t, 256>>>
      histograms;                                          // counts by int8 value + 128
  std::vector<std::pair<std::string, std::string>> texts;  // UTF-8, read as Markdown
};

// A record.
std::string encode_events(const StepEvents& events);

// A new file events.out.tfevents.<seconds>.<process> in `folder`, which is made where it is missing; its
// path.
Result<std::string> create_event_file(const std::string& folder, double wall_seconds);

}  // namespace clutch
