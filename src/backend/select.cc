#include "backend/select.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <thread>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"

namespace clutch {
namespace {

Result<std::unique_ptr<Backend>> make_reference(const std::string&, int) { return make_reference_backend(); }

// One line per backend: family, member, why it cannot run here, what it is, how to make it.
struct Row {
  const char* family;
  const char* member;
  const char* (*unavailable)();
  const char* summary;
  Result<std::unique_ptr<Backend>> (*make)(const std::string& member, int threads);

  std::string name() const { return *member == 0 ? family : fmt::format("{}:{}", family, member); }
};

const char* always() { return ""; }

constexpr Row kRows[] = {
    {"reference", "", always, "the meaning itself: scalar, one thread, slow", make_reference},
    {"cpu", "scalar", always, "portable C++, threads", make_cpu_backend},
};

}  // namespace

std::vector<BackendEntry> list_backends() {
  std::vector<BackendEntry> entries;
  for (const Row& row : kRows) entries.push_back({row.name(), row.unavailable(), row.summary});
  return entries;
}

Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads) {
  if (threads < 0 || threads > 1024) {
    return fail("--threads", fmt::format("{} is outside 0..1024", threads),
                "0 is for every processor this process may use");
  }
  std::string present;
  const Row* chosen = nullptr;
  for (const Row& row : kRows) {
    const bool runs = *row.unavailable() == 0;
    if (runs) present += (present.empty() ? "" : ", ") + row.name();
    if (runs && (row.name() == name || row.family == name))
      chosen = &row;  // later rows of a family are faster
    if (!runs && row.name() == name) {
      return fail("--backend", fmt::format("'{}' cannot run here: {}", name, row.unavailable()),
                  "`clutch info` lists the backends of this machine");
    }
  }
  if (chosen == nullptr)
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present);
  return chosen->make(chosen->member, threads == 0 ? default_threads() : static_cast<int>(threads));
}

int default_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace clutch
