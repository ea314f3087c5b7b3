#include "bench/bench.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <memory>
#include <optional>

#include "backend/cpu/cpu.h"
#include "backend/cpu/isa_list.h"
#include "backend/reference/reference.h"
#include "backend/select.h"
#include "base/thread_pool.h"
#include "bench/neighbours.h"
#include "bench/phases.h"
#include "bench/plain.h"
#include "data/stories.h"

namespace clutch::bench {
namespace {

double seconds_now(const Options& options) {
  if (!options.cpu_clock) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
  }
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec)) / options.threads;
}

// `additions` of all repeats, as Machine::additions() has them.
Repeated repeated(const std::vector<double>& additions, const Options& options) {
  const std::vector<bool> alone = undisturbed(additions);
  const int count = static_cast<int>(std::count(alone.begin(), alone.end(), true));
  return {.all = static_cast<int>(alone.size()), .undisturbed = count, .disturbed = count < options.repeats};
}

// Of values by repeat, those that count.
std::vector<double> counted(const std::vector<double>& values, const std::vector<double>& additions,
                            const Options& options) {
  if (repeated(additions, options).disturbed) return values;
  const std::vector<bool> alone = undisturbed(additions);
  std::vector<double> chosen;
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (alone[i]) chosen.push_back(values[i]);
  }
  return chosen;
}

Ratio ratio_of(const std::vector<double>& ratios, const std::vector<double>& additions,
               const Options& options) {
  return {spread_of(counted(ratios, additions, options)), repeated(additions, options)};
}

// Whether another repeat is due: of warm-ups, of repeats, of seconds, of undisturbed ones.
class Repeats {
 public:
  explicit Repeats(const Options& options) : options_(options), done_(-options.warmups) {}
  bool next(const std::vector<double>& additions) {
    const double now = seconds_now(options_);
    if (done_ == 0) start_ = now;
    return done_++ < options_.repeats || now - start_ < options_.least_seconds ||
           (now - start_ < options_.patience && repeated(additions, options_).disturbed);
  }
  bool counts() const { return done_ > 0; }  // no warm-up

 private:
  const Options& options_;
  int done_;
  double start_ = 0;
};

// What the machine gives to as many threads as the backend has: products of registers alone, and additions.
class Machine {
 public:
  Machine(const std::string& backend_name, const Options& options)
      : options_(options), pool_({options.threads, options.pinned}) {
    if (!backend_name.starts_with("cpu:")) return;
    auto found = cpu::find_kernels(backend_name.substr(4));
    if (found.ok()) kernels_ = found.value();
    if (!known()) return;
    // About 40 ms at a time.
    const double start = seconds_now(options_);
    kernels_->multiply_registers(100'000);
    steps_ =
        static_cast<std::int64_t>(100'000 * 0.04 / std::max(1e-6, (seconds_now(options_) - start) * scale()));
  }
  bool known() const { return kernels_ != nullptr && kernels_->multiply_registers != nullptr; }

  double tera_ops() {
    if (!known()) return 0;
    std::atomic<std::int64_t> products{0};
    const double start = seconds_now(options_);
    pool_.run(options_.threads, [&](int, int) { products += kernels_->multiply_registers(steps_); });
    return 2e-12 * static_cast<double>(products.load()) / (seconds_now(options_) - start);
  }

  // additions_per_cycle() on the core that gives the fewest; infinite for backends that are not the CPU's,
  // whose steps neighbours hardly disturb.
  double additions() {
    if (kernels_ == nullptr) return std::numeric_limits<double>::infinity();
    std::vector<double> rates(options_.threads);
    pool_.run(options_.threads, [&](int task, int) { rates[task] = additions_per_cycle(); });
    return *std::min_element(rates.begin(), rates.end());
  }

 private:
  double scale() const { return options_.cpu_clock ? options_.threads : 1; }
  const Options& options_;
  const cpu::Kernels* kernels_ = nullptr;
  ThreadPool pool_;
  std::int64_t steps_ = 0;
};

// A population with its text, and what a step of training does with a backend.
class Trainee {
 public:
  Trainee(Backend& backend, const Program& program, const Case& what, std::uint32_t members,
          std::uint32_t tokens)
      : backend_(backend), members_(members), tokens_(tokens), losses_(members), fitness_(members / 2) {
    text_.resize(std::size_t{(members + 1) / 2} * (tokens + 1));
    if (what.text == Text::kStories) {
      const std::string stories = make_stories(text_.size(), what.population);
      std::transform(stories.begin(), stories.end(), text_.begin(),
                     [](char c) { return static_cast<unsigned char>(c); });
    } else {
      std::uint64_t random = what.population;
      for (auto& token : text_) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        token = static_cast<std::uint16_t>((random >> 33) % static_cast<std::uint64_t>(program.vocab));
      }
    }
    for (std::uint32_t m = 0; m < members; ++m) stream_of_.push_back(m / 2);
  }

  Status start(const Program& program, const NoiseShape& noise) {
    CLUTCH_RETURN_IF_ERROR(backend_.load(program, noise, initial_weights(program, 1)));
    if (program.window > 0) return {};  // every step begins with empty caches
    auto states = backend_.new_states(members_);
    if (!states.ok()) return states.status();
    states_ = std::move(states).value();
    return {};
  }

  Status evaluate(bool noisy) {
    EvaluateRequest request{
        .noise = {}, .length = tokens_, .text = text_, .stream_of = stream_of_, .states = states_.get()};
    if (noisy) request.noise = NoiseSource{.seed = 7, .epoch = epoch_, .first_pair = 0};
    return backend_.evaluate(request, {.losses = losses_, .logits = {}});
  }

  Status update() {
    std::int64_t pairs = 0;
    for (std::size_t p = 0; p < fitness_.size(); ++p) {
      fitness_[p] = static_cast<std::int8_t>(exact::sign(losses_[2 * p + 1] - losses_[2 * p]));
      pairs += fitness_[p] != 0;
    }
    // Two deviations: about one weight in twenty moves.
    const auto threshold =
        static_cast<std::int64_t>(512 * exact::square_root_floor(static_cast<std::uint64_t>(pairs)));
    auto result = backend_.update({.noise = {.seed = 7, .epoch = epoch_++, .first_pair = 0},
                                   .fitness = fitness_,
                                   .matrix = {.threshold = threshold, .scale = {}},
                                   .vector = {.threshold = threshold, .scale = {}}});
    if (!result.ok()) return result.status();
    digest_ = result.value().digest;
    return {};
  }

  const std::vector<std::int64_t>& losses() const { return losses_; }
  std::uint64_t digest() const { return digest_; }

 private:
  Backend& backend_;
  std::uint32_t members_, tokens_, epoch_ = 0;
  std::vector<std::uint16_t> text_;
  std::vector<std::uint32_t> stream_of_;
  std::vector<std::int64_t> losses_;
  std::vector<std::int8_t> fitness_;
  std::unique_ptr<States> states_;
  std::uint64_t digest_ = 0;
};

// A step of few members and tokens, some of which come again, on the backend and on the reference.
Status verify_step(Backend& backend, const Program& program, const Case& what) {
  const auto reference = make_reference_backend();
  constexpr std::uint32_t kMembers = 4, kTokens = 8;
  Trainee expected(*reference, program, what, kMembers, kTokens),
      actual(backend, program, what, kMembers, kTokens);
  for (Trainee* trainee : {&expected, &actual}) {
    CLUTCH_RETURN_IF_ERROR(trainee->start(program, what.noise));
    CLUTCH_RETURN_IF_ERROR(trainee->evaluate(true));
    CLUTCH_RETURN_IF_ERROR(trainee->update());
    CLUTCH_RETURN_IF_ERROR(trainee->evaluate(false));
  }
  if (expected.losses() == actual.losses() && expected.digest() == actual.digest()) return {};
  return fail(backend.name(), "computes something else than the reference on " + what.name(),
              "`clutch parity` finds the first instruction that differs");
}

// A verified backend ready to train. On the heap, since its parts point at each other.
struct Bench {
  Program program;
  std::unique_ptr<Backend> backend;
  std::optional<Trainee> trainee;

  static Result<std::unique_ptr<Bench>> make(const Work& work) {
    const Case& what = work.what;
    auto program = build_program(what.model, what.noise);
    if (!program.ok()) return program.status();
    auto backend = make_backend_for(program.value(), what.noise, work.options.backend, work.options.threads,
                                    work.options.pinned);
    if (!backend.ok()) return backend.status();
    auto bench = std::make_unique<Bench>();
    bench->program = std::move(program).value();
    bench->backend = std::move(backend).value();
    if (work.options.verify) CLUTCH_RETURN_IF_ERROR(verify_step(*bench->backend, bench->program, what));
    bench->trainee.emplace(*bench->backend, bench->program, what, what.population, what.tokens);
    CLUTCH_RETURN_IF_ERROR(bench->trainee->start(bench->program, what.noise));
    return bench;
  }
};

// Member-tokens per second of one step.
Result<double> step_rate(Trainee& trainee, const Work& work) {
  const double start = seconds_now(work.options);
  CLUTCH_RETURN_IF_ERROR(trainee.evaluate(true));
  CLUTCH_RETURN_IF_ERROR(trainee.update());
  return static_cast<double>(work.what.population) * work.what.tokens / (seconds_now(work.options) - start);
}

// What the machine gave at some moment, or around some work: the mean peak, the fewest additions.
struct Given {
  double peak, additions;
};
Given look_at(Machine& machine) { return {machine.tera_ops(), machine.additions()}; }
Given around(const Given& a, const Given& b) {
  return {(a.peak + b.peak) / 2, std::min(a.additions, b.additions)};
}

// One kind of work, by repeat.
struct Times {
  std::vector<double> seconds, peak, additions;
  void add(double time, const Given& given) {
    seconds.push_back(time);
    peak.push_back(given.peak);
    additions.push_back(given.additions);
  }
};
struct AllTimes {
  Times inference, noisy, step;
};

Status time_repeats(Trainee& trainee, Machine& machine, const Options& options, AllTimes& times) {
  Given before = look_at(machine);
  for (Repeats repeats(options); repeats.next(times.step.additions);) {
    const double start = seconds_now(options);
    CLUTCH_RETURN_IF_ERROR(trainee.evaluate(false));
    const double inferred = seconds_now(options);
    const Given between = look_at(machine);
    const double begin = seconds_now(options);
    CLUTCH_RETURN_IF_ERROR(trainee.evaluate(true));
    const double evaluated = seconds_now(options);
    CLUTCH_RETURN_IF_ERROR(trainee.update());
    const double updated = seconds_now(options);
    const Given after = look_at(machine);
    if (repeats.counts()) {
      times.inference.add(inferred - start, around(before, between));
      times.noisy.add(evaluated - begin, around(between, after));
      times.step.add(updated - begin, around(between, after));
    }
    before = after;
  }
  return {};
}

Speed speed_of(const Times& times, const Options& options, const Case& what, const Program& program) {
  const double tokens = static_cast<double>(what.population) * what.tokens;
  std::vector<double> rate, ops, share;
  for (std::size_t i = 0; i < times.seconds.size(); ++i) {
    rate.push_back(tokens / times.seconds[i]);
    ops.push_back(2e-12 * static_cast<double>(program.multiplies()) * tokens / times.seconds[i]);
    share.push_back(times.peak[i] > 0 ? ops.back() / times.peak[i] : 0);
  }
  const auto spread = [&](const std::vector<double>& values) {
    return spread_of(counted(values, times.additions, options));
  };
  return {spread(times.seconds), spread(rate), spread(ops), spread(share)};
}

// Inference's seconds over the step's.
Ratio step_over_inference(const AllTimes& times, const Options& options) {
  std::vector<double> ratios, additions;
  for (std::size_t i = 0; i < times.step.seconds.size(); ++i) {
    ratios.push_back(times.inference.seconds[i] / times.step.seconds[i]);
    additions.push_back(std::min(times.inference.additions[i], times.step.additions[i]));
  }
  return ratio_of(ratios, additions, options);
}

// `backend_name`: "cpu:avx2".
const cpu::Kernels& kernels_of(const std::string& backend_name) {
  return *cpu::find_kernels(backend_name.substr(4)).value();
}

// See Measurement. As many members as read enough to tell.
Result<double> share_computed(const std::string& backend_name, const Program& program, const Case& what) {
  const auto backend = make_cpu_backend(timed_kernels(kernels_of(backend_name)), {1, false});
  const std::uint32_t members = std::min(what.population, 32U);
  Trainee trainee(*backend, program, what, members, what.tokens);
  CLUTCH_RETURN_IF_ERROR(trainee.start(program, what.noise));
  reset_times();
  CLUTCH_RETURN_IF_ERROR(trainee.evaluate(true));
  std::int64_t asked = 0;
  for (const Instruction& instruction : program.instructions) {
    if (instruction.op != Op::matmul) continue;
    const TensorSpec& tensor = program.tensors[instruction.tensor];
    asked += cpu::padded(tensor.rows) * cpu::padded(tensor.cols) * members * what.tokens;
  }
  return read_times().multiplies / static_cast<double>(asked);
}

// One more inference and step on kernels that time themselves.
Result<std::vector<Phase>> time_phases(const std::string& backend_name, const Program& program,
                                       const Case& what, int threads) {
  const auto backend = make_cpu_backend(timed_kernels(kernels_of(backend_name)), {threads, false});
  Trainee trainee(*backend, program, what, what.population, what.tokens);
  CLUTCH_RETURN_IF_ERROR(trainee.start(program, what.noise));
  CLUTCH_RETURN_IF_ERROR(trainee.evaluate(true));
  reset_times();
  CLUTCH_RETURN_IF_ERROR(trainee.evaluate(false));
  const double plain_products = read_times().products;
  reset_times();
  const auto start = std::chrono::steady_clock::now();
  CLUTCH_RETURN_IF_ERROR(trainee.evaluate(true));
  CLUTCH_RETURN_IF_ERROR(trainee.update());
  const std::chrono::duration<double, std::nano> wall = std::chrono::steady_clock::now() - start;
  const PhaseTimes t = read_times();
  const double all = wall.count() * threads;
  const double known =
      t.products + t.elementwise + t.norm + t.attention + t.loss + t.noise + t.votes + t.rest;
  return std::vector<Phase>{{"products", std::min(plain_products, t.products) / all},
                            {"perturbation", std::max(0.0, t.products - plain_products) / all},
                            {"element-wise", t.elementwise / all},
                            {"norm", t.norm / all},
                            {"attention", t.attention / all},
                            {"loss", t.loss / all},
                            {"noise", t.noise / all},
                            {"votes", t.votes / all},
                            {"pack and digest", t.rest / all},
                            {"the rest", std::max(0.0, 1 - known / all)}};
}

}  // namespace

std::string Case::name() const {
  return fmt::format("{}D={} L={} T={} population {}",
                     model.arch == ModelConfig().arch ? "" : model.arch + " ", model.dim, model.layers,
                     tokens, population);
}

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  return {values[values.size() / 2], values.front(), values.back()};
}

Result<Measurement> measure(const Case& what, const Options& options) {
  auto bench = Bench::make({what, options});
  if (!bench.ok()) return bench.status();
  const Program& program = bench.value()->program;
  const std::string name = bench.value()->backend->name();
  Machine machine(name, options);
  AllTimes times;
  CLUTCH_RETURN_IF_ERROR(time_repeats(*bench.value()->trainee, machine, options, times));

  Measurement m;
  m.what = what;
  m.backend = name;
  m.threads = options.threads;
  m.cpu_clock = options.cpu_clock;
  m.peak_tera_ops = spread_of(counted(times.step.peak, times.step.additions, options));
  m.inference = speed_of(times.inference, options, what, program);
  m.noisy = speed_of(times.noisy, options, what, program);
  m.step = speed_of(times.step, options, what, program);
  m.step_over_inference = step_over_inference(times, options);
  m.repeated = repeated(times.step.additions, options);
  if (!name.starts_with("cpu:")) return m;
  m.additions_per_cycle = spread_of(times.step.additions);
  auto computed = share_computed(name, program, what);
  if (!computed.ok()) return computed.status();
  m.computed = computed.value();
  if (options.phases) {
    auto phases = time_phases(name, program, what, options.threads);
    if (!phases.ok()) return phases.status();
    m.phases = std::move(phases).value();
  }
  return m;
}

Result<Ratio> compare(const Work& one, const Work& other) {
  std::unique_ptr<Bench> benches[2];
  for (const Work* work : {&one, &other}) {
    auto bench = Bench::make(*work);
    if (!bench.ok()) return bench.status();
    benches[work == &other] = std::move(bench).value();
  }
  const Work& wider = one.options.threads >= other.options.threads ? one : other;
  Machine machine(benches[&wider == &other]->backend->name(), wider.options);
  std::vector<double> ratios, additions;
  for (Repeats repeats(one.options); repeats.next(additions);) {
    double fewest = machine.additions();
    const auto rate_of = [&](int which, const Work& work) {
      auto rate = step_rate(*benches[which]->trainee, work);
      fewest = std::min(fewest, machine.additions());
      return rate;
    };
    const auto before = rate_of(0, one), between = rate_of(1, other), after = rate_of(0, one);
    for (const auto* rate : {&before, &between, &after}) {
      if (!rate->ok()) return rate->status();
    }
    if (!repeats.counts()) continue;
    ratios.push_back((before.value() + after.value()) / 2 / between.value());
    additions.push_back(fewest);
  }
  return ratio_of(ratios, additions, one.options);
}

Result<Ratio> stream_over_plain(const Work& work) {
  const auto bench = Bench::make(work);
  if (!bench.ok()) return bench.status();
  const Program& program = bench.value()->program;
  Trainee stream(*bench.value()->backend, program, work.what, 1, work.what.tokens);
  CLUTCH_RETURN_IF_ERROR(stream.start(program, work.what.noise));
  Machine machine(bench.value()->backend->name(), work.options);
  const Weights weights = initial_weights(program, 1);
  std::vector<std::int8_t> x(1 << 16, 1);
  std::vector<std::int32_t> y(1 << 16);
  std::vector<double> ratios, additions;
  for (Repeats repeats(work.options); repeats.next(additions);) {
    const double alone = machine.additions();
    const double start = seconds_now(work.options);
    CLUTCH_RETURN_IF_ERROR(stream.evaluate(false));
    const double evaluated = seconds_now(work.options);
    for (std::uint32_t t = 0; t < work.what.tokens; ++t) {
      for (const Instruction& instruction : program.instructions) {
        if (instruction.op != Op::matmul) continue;
        const TensorSpec& tensor = program.tensors[instruction.tensor];
        plain_product(weights[instruction.tensor].data(), tensor.rows, tensor.cols, x.data(), y.data());
        x[t] = static_cast<std::int8_t>(y[t % tensor.rows]);  // so that every product is needed
      }
    }
    const double done = seconds_now(work.options);
    if (!repeats.counts()) continue;
    ratios.push_back((done - evaluated) / (evaluated - start));
    additions.push_back(std::min(alone, machine.additions()));
  }
  return ratio_of(ratios, additions, work.options);
}

}  // namespace clutch::bench
