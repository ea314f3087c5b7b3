#include "backend/select.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <thread>

#include "backend/cpu/cpu.h"
#include "backend/cpu/isa_list.h"
#include "backend/reference/reference.h"

namespace clutch {
namespace {

Result<std::unique_ptr<Backend>> make_reference(const std::string&, int) { return make_reference_backend(); }

// One line per backend: family, member, why it cannot run here, what it is, how to make it.
struct Row {
  std::string family, member, unavailable, summary;
  Result<std::unique_ptr<Backend>> (*make)(const std::string& member, int threads);

  std::string name() const { return member.empty() ? family : fmt::format("{}:{}", family, member); }
};

std::vector<Row> rows() {
  std::vector<Row> list{
      {"reference", "", "", "the meaning itself: scalar, one thread, slow", make_reference}};
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    const std::string missing = isa.missing();
    list.push_back({"cpu", isa.name, missing.empty() ? "" : "the processor lacks " + missing, isa.summary,
                    make_cpu_backend});
  }
  return list;
}

}  // namespace

std::vector<BackendEntry> list_backends() {
  std::vector<BackendEntry> entries;
  for (const Row& row : rows()) entries.push_back({row.name(), row.unavailable, row.summary});
  return entries;
}

Result<std::unique_ptr<Backend>> make_backend(const std::string& name, int threads) {
  if (threads < 1 || threads > 1024) {
    return fail("--threads", fmt::format("{} is outside 1..1024", threads),
                "leave it out to use every processor");
  }
  std::string present, unavailable;
  const std::vector<Row> list = rows();
  const Row* chosen = nullptr;
  for (const Row& row : list) {
    const bool runs = row.unavailable.empty();
    if (runs) present += (present.empty() ? "" : ", ") + row.name();
    if (runs && (row.name() == name || row.family == name))
      chosen = &row;  // later rows of a family are faster
    if (!runs && row.name() == name) unavailable = row.unavailable;
  }
  if (!unavailable.empty()) {
    return fail("--backend", fmt::format("'{}' cannot run here: {}", name, unavailable),
                "this machine has: " + present);
  }
  if (chosen == nullptr)
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present);
  return chosen->make(chosen->member, threads);
}

int default_threads() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace clutch
