#include "backend/select.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "backend/cpu/cpu.h"
#include "backend/cpu/isa_list.h"
#include "backend/metal/metal.h"
#include "backend/null/null.h"
#include "backend/reference/reference.h"
#include "backend/vulkan/vulkan.h"

namespace clutch {
namespace {

Result<std::unique_ptr<Backend>> make_reference(const std::string&, const Threads&) {
  return make_reference_backend();
}

Result<std::unique_ptr<Backend>> make_null(const std::string&, const Threads&) { return make_null_backend(); }

Result<std::unique_ptr<Backend>> make_vulkan(const std::string& number, const Threads&) {
  return make_vulkan_backend(number);
}

Result<std::unique_ptr<Backend>> make_metal(const std::string& number, const Threads&) {
  return make_metal_backend(number);
}

// One line per backend: family, member, why it cannot run here, what it is, how to make it, what it runs on.
// Of one kind, later rows are faster.
struct Row {
  std::string family, member, unavailable, summary;
  Result<std::unique_ptr<Backend>> (*make)(const std::string& member, const Threads& threads);
  BackendKind kind = BackendKind::kEmulated;

  std::string name() const { return member.empty() ? family : fmt::format("{}:{}", family, member); }
};

// Of one family, or all: asking for devices loads their drivers, which nobody who names a processor waits
// for.
std::vector<Row> rows(const std::string& family = "") {
  std::vector<Row> list{{"null", "", "", "computes nothing: for tests of what is around backends", make_null,
                         BackendKind::kNull},
                        {"reference", "", "", "the meaning itself: scalar, one thread, slow", make_reference,
                         BackendKind::kReference}};
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    const std::string missing = isa.missing();
    list.push_back({"cpu", isa.name, missing.empty() ? "" : "the processor lacks " + missing, isa.summary,
                    make_cpu_backend, BackendKind::kProcessor});
  }
  // A family of devices alone means the first, which drivers say is the best.
  if (family.empty() || family == "metal") {
    const MetalDevices& found = metal_devices();
    for (std::size_t i = found.devices.size(); i-- > 0;) {
      list.push_back({"metal", std::to_string(i), "", found.devices[i], make_metal, BackendKind::kDevice});
    }
    if (found.devices.empty())
      list.push_back({"metal", "", found.none, "Apple's GPUs", make_metal, BackendKind::kDevice});
  }
  if (family.empty() || family == "vulkan") {
    const VulkanDevices& found = vulkan_devices();
    for (std::size_t i = found.devices.size(); i-- > 0;) {
      list.push_back({"vulkan", std::to_string(i), found.devices[i].unavailable, found.devices[i].summary,
                      make_vulkan,
                      found.devices[i].emulated ? BackendKind::kEmulated : BackendKind::kDevice});
    }
    if (found.devices.empty())
      list.push_back({"vulkan", "", found.none, "GPUs of any vendor", make_vulkan, BackendKind::kDevice});
  }
  return list;
}

std::vector<Row> fastest_first() {
  std::vector<Row> list = rows();
  std::reverse(list.begin(), list.end());
  std::stable_sort(list.begin(), list.end(), [](const Row& a, const Row& b) { return a.kind > b.kind; });
  return list;
}

Threads threads_of(std::int64_t threads, bool pinned) {
  return {threads == 0 ? default_threads() : static_cast<int>(threads), pinned};
}

Status check_threads(std::int64_t threads) {
  if (threads >= 0 && threads <= 1024) return {};
  return fail("--threads", fmt::format("{} is outside 0..1024", threads),
              "0 is for every processor this process may use");
}

Result<std::unique_ptr<Backend>> make_automatic(const Program& program, const NoiseShape& noise,
                                                const Threads& threads) {
  std::string refusals;
  for (const Row& row : fastest_first()) {
    if (!row.unavailable.empty() || row.kind == BackendKind::kNull) continue;
    auto backend = row.make(row.member, threads);
    const Status status = backend.ok() ? backend.value()->supports(program, noise) : backend.status();
    if (status.ok()) return backend;
    refusals += (refusals.empty() ? "" : "; ") + row.name() + ": " + status.message();
  }
  return fail("--backend", "none can run this program: " + refusals, "choose another model");
}

// The processors that the container's quota amounts to; 0 where there is none. Of nested groups the smallest
// counts.
int container_quota() {
  const auto line_of = [](const std::string& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
  };
  int least = 0;
  const auto take = [&](int quota) {
    if (quota > 0) least = least == 0 ? quota : std::min(least, quota);
  };
  // Version 2: /proc/self/cgroup has "0::/path", and every group on the way has a cpu.max.
  std::ifstream groups("/proc/self/cgroup");
  std::string path;
  for (std::string line; std::getline(groups, line);) {
    if (line.starts_with("0::")) path = line.substr(3);
  }
  for (;; path = path.substr(0, path.find_last_of('/'))) {
    take(threads_of_quota(line_of("/sys/fs/cgroup" + (path == "/" ? "" : path) + "/cpu.max")));
    if (path.find('/') == std::string::npos) break;
  }
  // Version 1.
  take(threads_of_quota(line_of("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") + " " +
                        line_of("/sys/fs/cgroup/cpu/cpu.cfs_period_us")));
  return least;
}

}  // namespace

std::vector<BackendEntry> list_backends() {
  std::vector<BackendEntry> entries;
  for (const Row& row : rows()) entries.push_back({row.name(), row.unavailable, row.summary, row.kind});
  return entries;
}

Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads, bool pinned) {
  CLUTCH_RETURN_IF_ERROR(check_threads(threads));
  std::string present, unavailable;
  const auto named = [&](const Row& row) { return row.name() == name || row.family == name; };
  std::vector<Row> list = rows(name.substr(0, name.find(':')));
  if (std::none_of(list.begin(), list.end(),
                   [&](const Row& row) { return named(row) && row.unavailable.empty(); }))
    list = rows();  // to say what there is
  const Row* chosen = nullptr;
  for (const Row& row : list) {
    const bool runs = row.unavailable.empty();
    if (runs) present += (present.empty() ? "" : ", ") + row.name();
    if (runs && named(row)) chosen = &row;  // later rows of a family are faster
    if (!runs && named(row)) unavailable = row.unavailable;
  }
  if (chosen == nullptr && !unavailable.empty()) {
    return fail("--backend", fmt::format("'{}' cannot run here: {}", name, unavailable),
                "this machine has: " + present);
  }
  if (chosen == nullptr)
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present + ", auto");
  return chosen->make(chosen->member, threads_of(threads, pinned));
}

Result<std::unique_ptr<Backend>> make_backend_for(const Program& program, const NoiseShape& noise,
                                                  const std::string& name, std::int64_t threads,
                                                  bool pinned) {
  CLUTCH_RETURN_IF_ERROR(check_threads(threads));
  if (name == "auto") return make_automatic(program, noise, threads_of(threads, pinned));
  auto backend = make_backend(name, threads, pinned);
  if (backend.ok()) CLUTCH_RETURN_IF_ERROR(backend.value()->supports(program, noise));
  return backend;
}

std::vector<Suitability> suitable_backends(const Program& program, const NoiseShape& noise) {
  std::vector<Suitability> all;
  bool chosen = false;
  for (const Row& row : fastest_first()) {
    Suitability& one = all.emplace_back(row.name(), row.unavailable);
    if (!one.why_not.empty()) continue;
    auto backend = row.make(row.member, 1);
    const Status status = backend.ok() ? backend.value()->supports(program, noise) : backend.status();
    if (!status.ok()) one.why_not = status.message();
    one.automatic = status.ok() && row.kind != BackendKind::kNull && !chosen;
    chosen = chosen || one.automatic;
  }
  return all;
}

int threads_of_quota(const std::string& cpu_max) {
  std::istringstream words(cpu_max);
  std::int64_t quota = 0, period = 0;
  if (!(words >> quota >> period) || quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min<std::int64_t>((quota + period - 1) / period, 1024));
}

int default_threads() {
  int threads = static_cast<int>(std::thread::hardware_concurrency());
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) threads = CPU_COUNT(&set);
  const int quota = container_quota();
  return std::max(1, quota > 0 ? std::min(threads, quota) : threads);
}

}  // namespace clutch
