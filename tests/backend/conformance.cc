// clutch_conformance: every backend of this build against the reference, bit for bit. Not a unit test: a
// program to bring a backend up with. `test` compares, `support` lists what a backend declines, `perf` times.
#include <fmt/format.h>
#include <regex.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <map>

#include "backend/conformance_cases.h"
#include "backend/guarded.h"
#include "backend/reference/reference.h"
#include "backend/select.h"
#include "parity/case_file.h"
#include "parity/lockstep.h"

namespace clutch::testing {
namespace {

constexpr int kSkipped = 77;  // exit status that ctest takes for a skip

struct Options {
  std::string mode = "test", pattern = ".", save;
  std::vector<std::string> backends, ops, require;
  std::uint64_t seed = 1;
  int cases = 25;
  bool csv = false;
};

// Several backends at once answer to "several" alone.
bool names(const std::vector<std::string>& wanted, const std::string& backend) {
  const bool several = backend.find(',') != std::string::npos;
  return std::any_of(wanted.begin(), wanted.end(), [&](const std::string& name) {
    return several ? name == "several" : name == backend || backend.starts_with(name + ":");
  });
}

// Those of the list, and some that share a population: of two kinds, and more than some cases have pairs.
std::vector<BackendEntry> all_backends() {
  std::vector<BackendEntry> list = list_backends();
  const bool scalar =
      std::any_of(list.begin(), list.end(), [](const auto& e) { return e.name == "cpu:scalar"; });
  for (const char* name : {"cpu:scalar,cpu", "cpu,cpu:scalar,reference"}) {
    if (scalar) list.push_back({name, "", "several that share a population", BackendKind::kProcessor});
  }
  return list;
}

std::string csv_field(std::string text) {
  if (text.find_first_of(",\"\n") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

// An extended regular expression by POSIX: <regex> takes longer to compile than the rest of this file.
class Pattern {
 public:
  explicit Pattern(const std::string& text) {
    if (regcomp(&compiled_, text.c_str(), REG_EXTENDED | REG_NOSUB) != 0) {
      throw CLI::ValidationError(
          "--pattern", fmt::format("'{}' is no regular expression; write one as grep -E takes it", text));
    }
  }
  ~Pattern() { regfree(&compiled_); }
  Pattern(const Pattern&) = delete;
  Pattern& operator=(const Pattern&) = delete;

  bool is_in(const std::string& name) const { return regexec(&compiled_, name.c_str(), 0, nullptr, 0) == 0; }

 private:
  regex_t compiled_;
};

// Of all cases, on all backends.
struct Counts {
  int passed = 0, failed = 0, skipped = 0;
};

class Conformance {
 public:
  explicit Conformance(Options options) : options_(std::move(options)) {
    const Pattern pattern(options_.pattern);
    for (NamedCase& one : conformance_cases(options_.seed, options_.cases)) {
      const bool op = options_.ops.empty() ||
                      std::any_of(options_.ops.begin(), options_.ops.end(),
                                  [&](const std::string& name) { return one.group == "op/" + name; });
      if (op && pattern.is_in(one.name)) cases_.push_back(std::move(one));
    }
  }

  int run() {
    if (options_.csv) fmt::print("mode,backend,case,seed,outcome,ns_per_member_token,detail\n");
    if (!options_.csv) fmt::print("seed {}, {} cases\n", options_.seed, cases_.size());
    bool any = false;
    for (const BackendEntry& entry : all_backends()) {
      if (!options_.backends.empty() && !names(options_.backends, entry.name)) continue;
      any = true;
      if (entry.kind == BackendKind::kNull) {
        skip(entry.name, "computes nothing, so that there is nothing to compare");
      } else if (!entry.unavailable.empty()) {
        skip(entry.name, entry.unavailable);
      } else {
        run_backend(entry.name);
      }
    }
    check_required();
    if (!any || cases_.empty()) {
      fmt::print(stderr, "nothing to do: no {} of that name\n", any ? "case" : "backend");
      return 1;
    }
    if (!options_.csv)
      fmt::print("{} passed, {} failed, {} skipped\n", counts_.passed, counts_.failed, counts_.skipped);
    if (counts_.failed > 0) return 1;
    return counts_.passed == 0 ? kSkipped : 0;
  }

 private:
  void run_backend(const std::string& backend) {
    std::map<std::string, Counts> groups;
    std::vector<std::string> order;
    for (const NamedCase& one : cases_) {
      if (!groups.contains(one.group)) order.push_back(one.group);
      Counts& group = groups[one.group];
      const auto made = one.make();
      if (!made.ok()) {
        report(backend, one, "failed", 0, made.status().message());
        ++group.failed;
        continue;
      }
      const Status supported =
          make_backend(backend, 1).value()->supports(made.value().start.program, made.value().start.noise);
      if (!supported.ok()) {
        report(backend, one, "skipped", 0, supported.message());
        ++group.skipped;
      } else if (options_.mode == "support") {
        report(backend, one, "passed", 0, "");
        ++group.passed;
      } else {
        const bool passed =
            options_.mode == "perf" ? time(backend, one, made.value()) : compare(backend, one, made.value());
        ++(passed ? group.passed : group.failed);
      }
    }
    for (const std::string& name : order) close_group(backend, name, groups[name]);
  }

  // A line for tools/count_tests.py, and the sums.
  void close_group(const std::string& backend, const std::string& name, const Counts& group) {
    const char* outcome = group.failed > 0 ? "failed" : group.passed > 0 ? "passed" : "skipped";
    if (!options_.csv && options_.mode == "test")
      fmt::print("RESULT {} {}/{} {} cases{}\n", outcome, backend, name, group.passed,
                 group.skipped > 0 ? fmt::format(", {} declined", group.skipped) : "");
    counts_.passed += group.passed;
    counts_.failed += group.failed;
    counts_.skipped += group.skipped;
    passed_of_[backend] += group.passed;
    std::fflush(stdout);
  }

  void report(const std::string& backend, const NamedCase& one, const char* outcome, double ns,
              const std::string& detail) {
    if (options_.csv) {
      fmt::print("{},{},{},{},{},{},{}\n", options_.mode, backend, one.name, one.seed, outcome,
                 ns > 0 ? fmt::format("{:.1f}", ns) : "", csv_field(detail));
      return;
    }
    const bool quiet = options_.mode == "test" && std::string_view(outcome) == "passed";
    if (quiet) return;
    fmt::print("{} {} {}{}{}\n", outcome, backend, one.name,
               ns > 0 ? fmt::format("  {:.1f} ns per member and token", ns) : "",
               detail.empty() ? "" : ": " + detail);
    if (std::string_view(outcome) == "failed")
      fmt::print("repeat it with: clutch_conformance test --backend {} -k '^{}$' --seed {}\n", backend,
                 one.name, one.group == "random" ? one.seed : options_.seed);
  }

  // The reference and one thread, then one thread and three: so all three are the same.
  bool compare(const std::string& backend, const NamedCase& one, const parity::Case& c) {
    GuardedBackend single(make_backend(backend, 1).value()), several(make_backend(backend, 3).value());
    const auto reference = make_reference_backend();
    for (auto& [a, b] : {std::pair<Backend*, Backend*>{reference.get(), &single}, {&single, &several}}) {
      const auto outcome = parity::run_case(*a, *b, c);
      if (outcome.ok() && !outcome.value().difference) continue;
      report(backend, one, "failed", 0,
             outcome.ok() ? outcome.value().difference->text : outcome.status().message());
      if (outcome.ok() && !options_.save.empty()) save(backend, one, outcome.value().difference->repeat);
      return false;
    }
    report(backend, one, "passed", 0, "");
    return true;
  }

  void save(const std::string& backend, const NamedCase& one, const parity::Case& repeat) {
    std::string file = backend + "-" + one.name + ".safetensors";
    for (char& c : file) c = c == '/' || c == ':' ? '-' : c;
    const std::string path = options_.save + "/" + file;
    const Status written = write_case(path, repeat);
    fmt::print("{}\n",
               written.ok() ? "clutch parity --case " + path + " --backend " + backend : written.message());
  }

  // The median of five evaluations with noise, after one that warms up.
  bool time(const std::string& backend, const NamedCase& one, const parity::Case& c) {
    if (!c.steps[0].evaluation) return true;
    const parity::Evaluation& evaluation = *c.steps[0].evaluation;
    const auto made = make_backend(backend, 0);
    Backend& timed = *made.value();
    std::vector<std::int64_t> losses(evaluation.stream_of.size());
    std::vector<double> ns;
    Status status = timed.load(c.start.program, c.start.noise, c.start.weights, c.start.memory);
    for (int i = 0; i < 6 && status.ok(); ++i) {
      const auto start = std::chrono::steady_clock::now();
      status = timed.evaluate(parity::request_of(evaluation, nullptr), {.losses = losses, .logits = {}});
      const std::chrono::duration<double, std::nano> took = std::chrono::steady_clock::now() - start;
      if (i > 0) ns.push_back(took.count() / (static_cast<double>(losses.size()) * evaluation.length));
    }
    if (status.ok()) std::ranges::sort(ns);
    report(backend, one, status.ok() ? "passed" : "failed", status.ok() ? ns[2] : 0,
           status.ok() ? "" : status.message());
    return status.ok();
  }

  void skip(const std::string& backend, const std::string& why) {
    ++counts_.skipped;
    if (options_.csv)
      fmt::print("{},{},,{},skipped,,{}\n", options_.mode, backend, options_.seed, csv_field(why));
    else
      fmt::print("RESULT skipped {} {}\n", backend, why);
  }

  // What must not be skipped.
  void check_required() {
    for (const std::string& required : options_.require) {
      const bool ran = std::any_of(passed_of_.begin(), passed_of_.end(), [&](const auto& one) {
        return one.second > 0 && names({required}, one.first);
      });
      if (ran) continue;
      ++counts_.failed;
      fmt::print(options_.csv ? stderr : stdout, "RESULT failed {} is required and passed no case\n",
                 required);
    }
  }

  const Options options_;
  std::vector<NamedCase> cases_;
  Counts counts_;
  std::map<std::string, int> passed_of_;
};

int run(int argc, char** argv) {
  CLI::App app{"Compares every backend of this build with the reference, bit for bit.", "clutch_conformance"};
  Options options;
  const char* cases = std::getenv("CLUTCH_TEST_CASES");
  if (cases != nullptr) options.cases = std::max(1, std::atoi(cases));
  app.add_option("mode", options.mode, "test, support or perf")
      ->check(CLI::IsMember({"test", "support", "perf"}))
      ->capture_default_str();
  app.add_option("--backend", options.backends, "Only these; a family (cpu) stands for all of it")
      ->delimiter(',');
  app.add_option("--op", options.ops, "Only the cases of these ops")->delimiter(',');
  app.add_option("-k,--pattern", options.pattern, "Only cases whose name has this regular expression in it");
  app.add_option("--seed", options.seed, "Of all random numbers; of the first random program")
      ->capture_default_str();
  app.add_option("--cases", options.cases, "Random programs; default is CLUTCH_TEST_CASES, or 25")
      ->check(CLI::Range(1, 1 << 20));
  app.add_option("--require", options.require, "Fail where one of these is not there")->delimiter(',');
  app.add_option("--save", options.save, "Folder for cases that differ, for `clutch parity --case`");
  app.add_flag("--csv", options.csv, "Print CSV, a line per backend and case");
  try {
    app.parse(argc, argv);
    return Conformance(options).run();
  } catch (const CLI::ParseError& error) {
    return app.exit(error);
  }
}

}  // namespace
}  // namespace clutch::testing

int main(int argc, char** argv) { return clutch::testing::run(argc, argv); }
