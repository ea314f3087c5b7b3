// Measurements of a backend: verified against the reference first, then timed with warm-up and repeats.
// Nothing here prints; the command line does.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "models/model.h"

namespace clutch::bench {

// What members read: built-in stories (data/stories.h), whose bytes come again as those of English do; or
// tokens drawn uniformly, which seldom do. It matters: what depends on the token alone is computed once.
enum class Text { kStories, kUniform };

struct Case {
  ModelConfig model;
  NoiseShape noise;
  Text text = Text::kStories;  // for a vocabulary of 256
  std::uint32_t tokens = 256;  // per member and evaluation
  std::uint32_t population = 32;

  std::string name() const;  // "D=512 L=4 T=256 population 32"
};

struct Options {
  std::string backend = "cpu";
  int threads = 1;
  int warmups = 1, repeats = 5;
  double least_seconds = 0;  // repeat more often, until as much time has passed
  double patience = 0;       // and until `repeats` were undisturbed, or as many seconds have passed
  bool verify = true;
  bool phases = false;
  // Time the process spent, divided by the threads, instead of time on the wall: for machines that others
  // use.
  bool cpu_clock = false;
  bool pinned = false;  // worker threads, each to a processor
};

// Of the repeats.
struct Spread {
  double median = 0, least = 0, most = 0;
};
Spread spread_of(std::vector<double> values);

// Repeats, and those in which the cores were this process's alone (neighbours.h), on backends of the CPU: if
// they are as many as were asked for, only they count. Else all do, and what was measured tells as much about
// the other guests.
struct Repeated {
  int all = 0, undisturbed = 0;
  bool disturbed = false;
};

// Of two speeds.
struct Ratio {
  Spread spread;
  Repeated repeated;
};

// One kind of work: evaluation without noise, with it, or a whole training step.
struct Speed {
  Spread seconds;
  Spread tokens_per_second;  // member-tokens
  // Matrix products that the program asks for, computed or not, two operations each multiply-add.
  Spread tera_ops;
  Spread of_peak;  // over the peak measured right before and after; 0 where there is none
};

// Where a step's time goes, summed over threads.
struct Phase {
  std::string name;
  double share = 0;
};

struct Measurement {
  Case what;
  std::string backend;  // as it calls itself
  int threads = 0;
  bool cpu_clock = false;
  Spread peak_tera_ops;  // register-only products of this instruction set on all threads; 0 where unknown
  Speed inference, noisy, step;
  Ratio step_over_inference;  // in member-tokens per second
  Repeated repeated;          // steps
  // Around all of them, on the core that gave the fewest (neighbours.h); 0 for backends that are not the
  // CPU's.
  Spread additions_per_cycle;
  // Of the products that the program asks for, the share that a backend of the CPU computes in a step; the
  // rest repeat a row that the same member's same token had before.
  double computed = 1;
  std::vector<Phase> phases;  // where asked for
};

// Fails where the backend cannot run, or where it differs from the reference.
Result<Measurement> measure(const Case& what, const Options& options);

// Steps of one and of the other by turns, so that whatever else the machine does hits both alike: the ratio
// of their member-tokens per second, one's over the other's. Each is verified as measure() does.
struct Work {
  Case what;
  Options options;
};
Result<Ratio> compare(const Work& one, const Work& other);

// One stream on one thread without noise, as in generation, against plain_product() on the same matrices and
// nothing else: the ratio of tokens per second.
Result<Ratio> stream_over_plain(const Work& work);

// A target and what was reached; `missing` says why a row could not be measured.
struct SuiteRow {
  std::string what;
  double reached = 0, at_least = 0;
  std::optional<double> computed = {};  // of a row about a peak: see Measurement
  std::string missing;
  Repeated repeated;
  bool falls_short() const { return missing.empty() && reached < at_least; }
};

// The targets of docs/BENCHMARKS.md as ratios inside this run. `progress` hears of every measurement.
std::vector<SuiteRow> run_suite(const Options& options, void (*progress)(const std::string&));

}  // namespace clutch::bench
