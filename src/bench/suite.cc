// The targets as one list, and the measurements they need, each made once.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "bench/bench.h"

namespace clutch::bench {
namespace {

Case transformer(std::int64_t dim, std::int64_t layers, std::uint32_t tokens, std::uint32_t population) {
  Case what;
  what.model = {.arch = "transformer", .dim = dim, .layers = layers, .window = tokens};
  what.tokens = tokens;
  what.population = population;
  return what;
}

Case egg(std::int64_t dim, std::int64_t layers, std::uint32_t tokens, std::uint32_t population) {
  Case what;
  what.model.dim = dim;
  what.model.layers = layers;
  what.tokens = tokens;
  what.population = population;
  return what;
}

class Suite {
 public:
  Suite(const Options& options, void (*progress)(const std::string&))
      : options_(options), progress_(progress) {}

  void step_of_peak(const std::string& backend, const Case& what, double at_least) {
    add_ratio("step / peak, " + backend + ", " + what.name(), at_least,
              of(backend, what, [](const Measurement& m) {
                return Ratio{m.step.of_peak, m.repeated};
              }));
    const auto measured = done_.find(key_of(backend, what));
    if (measured->second.ok()) rows.back().computed = measured->second.value().computed;
  }
  void step_of_inference(const std::string& backend, const Case& what, double at_least) {
    add_ratio("step / inference, " + backend + ", " + what.name(), at_least,
              of(backend, what, [](const Measurement& m) { return m.step_over_inference; }));
  }
  void small_over_large(const std::string& backend, const Case& small, const Case& large, double at_least) {
    compare_rates(fmt::format("population {} / {}, {}, D={}", small.population, large.population, backend,
                              small.model.dim),
                  at_least, {small, with(backend, options_.threads)},
                  {large, with(backend, options_.threads)});
  }
  void two_threads_over_one(const std::string& backend, const Case& what, double at_least) {
    compare_rates("two threads / one, " + backend + ", " + what.name(), at_least, {what, with(backend, 2)},
                  {what, with(backend, 1)});
  }
  void stream_over_plain_loop(const std::string& backend, const Case& what, double at_least) {
    const std::string name = "one stream / plain matrix-vector loop, " + backend + ", " + what.name();
    progress_(name);
    add_ratio(name, at_least, stream_over_plain({what, with(backend, 1)}));
  }
  std::vector<SuiteRow> rows;

 private:
  Options with(const std::string& backend, int threads) const {
    Options options = options_;
    options.backend = backend;
    options.threads = threads;
    options.least_seconds = 10;  // other work on the machine comes in bursts
    options.patience = std::max(options.patience, 30.0);
    return options;
  }

  void compare_rates(const std::string& what, double at_least, const Work& one, const Work& other) {
    progress_(what);
    add_ratio(what, at_least, compare(one, other));
  }

  void add_ratio(const std::string& what, double at_least, const Result<Ratio>& ratio) {
    rows.push_back({.what = what,
                    .reached = ratio.ok() ? ratio.value().spread.median : 0,
                    .at_least = at_least,
                    .missing = ratio.ok() ? std::string() : ratio.status().message(),
                    .repeated = ratio.ok() ? ratio.value().repeated : Repeated()});
  }

  std::string key_of(const std::string& backend, const Case& what) const {
    return fmt::format("{}, {} threads, {}", backend, options_.threads, what.name());
  }

  // A ratio of a measurement, which is made if it was not yet.
  Result<Ratio> of(const std::string& backend, const Case& what, Ratio (*ratio)(const Measurement&)) {
    const std::string key = key_of(backend, what);
    if (!done_.contains(key)) {
      progress_(key);
      done_.emplace(key, measure(what, with(backend, options_.threads)));
    }
    const Result<Measurement>& measured = done_.at(key);
    if (!measured.ok()) return measured.status();
    return ratio(measured.value());
  }

  Options options_;
  void (*progress_)(const std::string&);
  std::map<std::string, Result<Measurement>> done_;
};

}  // namespace

std::vector<SuiteRow> run_suite(const Options& options, void (*progress)(const std::string&)) {
  Suite suite(options, progress);
  const std::string best = "cpu:avx512vnni";
  const Case small = egg(512, 4, 256, 32), large = egg(512, 4, 256, 1024);
  suite.step_of_peak(best, small, 0.85);
  suite.step_of_peak(best, large, 0.85);
  suite.step_of_peak(best, egg(256, 6, 100, 1024), 0.85);
  suite.step_of_peak(best, egg(128, 2, 100, 1024), 0.70);
  suite.step_of_peak(best, egg(64, 1, 100, 1024), 0.50);
  suite.step_of_peak(best, transformer(256, 4, 64, 1024), 0.75);
  suite.small_over_large(best, small, large, 0.95);
  suite.step_of_inference(best, small, 0.95);
  suite.step_of_peak("cpu:avxvnni", small, 0.80);
  suite.step_of_peak("cpu:avx2", small, 0.70);
  suite.two_threads_over_one(best, small, 1.85);
  suite.stream_over_plain_loop(best, egg(64, 1, 32, 2), 1);
  suite.stream_over_plain_loop(best, egg(512, 4, 32, 2), 1);
  return suite.rows;
}

}  // namespace clutch::bench
