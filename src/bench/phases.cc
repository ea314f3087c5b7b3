#include "bench/phases.h"

#include <array>
#include <atomic>
#include <chrono>

namespace clutch::bench {
namespace {

enum Kind { kProducts, kElementwise, kNorm, kAttention, kLoss, kNoise, kVotes, kRest, kKinds };

// Kernels are plain functions, so what they time is global.
const cpu::Kernels* inner = nullptr;
cpu::Kernels timed{};
std::array<std::atomic<std::int64_t>, kKinds> nanoseconds{};
std::atomic<std::int64_t> multiplies{0};

class Timer {
 public:
  explicit Timer(Kind kind) : kind_(kind), start_(std::chrono::steady_clock::now()) {}
  ~Timer() {
    const auto spent = std::chrono::steady_clock::now() - start_;
    nanoseconds[kind_].fetch_add(std::chrono::duration_cast<std::chrono::nanoseconds>(spent).count(),
                                 std::memory_order_relaxed);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

 private:
  Kind kind_;
  std::chrono::steady_clock::time_point start_;
};

// The wrapper of an entry: same arguments, timed.
template <auto kEntry, Kind kKind, class R, class... A>
R call_timed(A... arguments) {
  const Timer timer(kKind);
  return (inner->*kEntry)(arguments...);
}

template <auto kEntry, Kind kKind, class R, class... A>
void wrap_as(R (*cpu::Kernels::*entry)(A...)) {
  timed.*entry = call_timed<kEntry, kKind, R, A...>;
}

template <auto kEntry, Kind kKind>
void wrap() {
  wrap_as<kEntry, kKind>(kEntry);
}

}  // namespace

const cpu::Kernels& timed_kernels(const cpu::Kernels& kernels) {
  inner = &kernels;
  timed = kernels;
  timed.matmul = [](const cpu::MatmulTask& task) {
    multiplies.fetch_add(task.n * task.k * task.members * task.tokens, std::memory_order_relaxed);
    const Timer timer(kProducts);
    inner->matmul(task);
  };
  wrap<&cpu::Kernels::copy, kElementwise>();
  wrap<&cpu::Kernels::add, kElementwise>();
  wrap<&cpu::Kernels::add_bias, kElementwise>();
  wrap<&cpu::Kernels::gate, kElementwise>();
  wrap<&cpu::Kernels::mix, kElementwise>();
  wrap<&cpu::Kernels::bias_gate, kElementwise>();
  wrap<&cpu::Kernels::bias_mix, kElementwise>();
  wrap<&cpu::Kernels::relu, kElementwise>();
  wrap<&cpu::Kernels::bias, kElementwise>();
  wrap<&cpu::Kernels::gelu, kElementwise>();
  wrap<&cpu::Kernels::rescale, kElementwise>();
  wrap<&cpu::Kernels::add_rescale, kElementwise>();
  wrap<&cpu::Kernels::rotate, kElementwise>();
  wrap<&cpu::Kernels::embed, kElementwise>();
  wrap<&cpu::Kernels::norm, kNorm>();
  wrap<&cpu::Kernels::attend, kAttention>();
  wrap<&cpu::Kernels::loss, kLoss>();
  wrap<&cpu::Kernels::fill_noise, kNoise>();
  wrap<&cpu::Kernels::make_vector, kNoise>();
  wrap<&cpu::Kernels::fill_pairs, kNoise>();
  wrap<&cpu::Kernels::vote, kVotes>();
  wrap<&cpu::Kernels::vote_vector, kVotes>();
  wrap<&cpu::Kernels::pack_terms, kVotes>();
  wrap<&cpu::Kernels::pack, kRest>();
  wrap<&cpu::Kernels::digest, kRest>();
  return timed;
}

PhaseTimes read_times() {
  const auto of = [](Kind kind) { return static_cast<double>(nanoseconds[kind].load()); };
  return {of(kProducts),  of(kElementwise), of(kNorm),
          of(kAttention), of(kLoss),        of(kNoise),
          of(kVotes),     of(kRest),        static_cast<double>(multiplies.load())};
}

void reset_times() {
  for (auto& kind : nanoseconds) kind = 0;
  multiplies = 0;
}

}  // namespace clutch::bench
