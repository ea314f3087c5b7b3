// A run as one self-contained page of HTML: no scripts, nothing fetched. Readable in dark and light, on a
// phone, by keyboard; every curve stands beside the numbers it was drawn from.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "inspect/inspect.h"

namespace clutch {

// How widely a head of attention looked: the entropy of its weights and what it could be at most, in bits.
struct HeadLine {
  std::string name;
  double bits = 0, most = 0;
};

// A line of metrics.jsonl. What it lacks is absent.
struct MetricsLine {
  std::uint64_t step = 0;
  double tokens = 0, seconds = 0;
  double bits = 0;  // per byte or token, with noise
  std::optional<double> valid_bits;
  double moved = 0, tied = 0;  // shares
  std::optional<double> core_seconds, distinct_tokens;
  std::vector<HeadLine> heads = {};  // where the line has an inspection of a model with attention
  std::string digest;
  std::optional<std::string> sample;
};

struct Metrics {
  std::vector<MetricsLine> lines;
  std::uint64_t unreadable = 0;  // lines that were cut short or are no such line
};

// Never fails: a run may be half written.
Metrics parse_metrics(std::string_view text);

struct RunReport {
  std::string title;
  std::vector<std::pair<std::string, std::string>> facts = {};   // shown on top, in order
  std::vector<std::pair<std::string, std::string>> config = {};  // knob, value
  Metrics metrics = {};
  std::optional<Inspection> inspection = {};  // of the last checkpoint
  std::vector<std::string> notes = {};        // what is missing or damaged
};

// The page, UTF-8. Whatever comes from files is escaped; bytes that are no UTF-8 become U+FFFD.
std::string report_html(const RunReport& report);

}  // namespace clutch
