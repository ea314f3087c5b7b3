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
#include "backend/reference/reference.h"
#include "backend/vulkan/vulkan.h"

namespace clutch {
namespace {

Result<std::unique_ptr<Backend>> make_reference(const std::string&, const Threads&) {
  return make_reference_backend();
}

Result<std::unique_ptr<Backend>> make_vulkan(const std::string& number, const Threads&) {
  return make_vulkan_backend(number);
}

Result<std::unique_ptr<Backend>> make_metal(const std::string& number, const Threads&) {
  return make_metal_backend(number);
}

// One line per backend: family, member, why it cannot run here, what it is, how to make it.
struct Row {
  std::string family, member, unavailable, summary;
  Result<std::unique_ptr<Backend>> (*make)(const std::string& member, const Threads& threads);

  std::string name() const { return member.empty() ? family : fmt::format("{}:{}", family, member); }
};

// Of one family, or all: asking for devices loads their drivers, which nobody who names a processor waits
// for.
std::vector<Row> rows(const std::string& family = "") {
  std::vector<Row> list{
      {"reference", "", "", "the meaning itself: scalar, one thread, slow", make_reference}};
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    const std::string missing = isa.missing();
    list.push_back({"cpu", isa.name, missing.empty() ? "" : "the processor lacks " + missing, isa.summary,
                    make_cpu_backend});
  }
  // A family of devices alone means the first, which drivers say is the best.
  if (family.empty() || family == "metal") {
    const MetalDevices& found = metal_devices();
    for (std::size_t i = found.devices.size(); i-- > 0;) {
      list.push_back({"metal", std::to_string(i), "", found.devices[i], make_metal});
    }
    if (found.devices.empty()) list.push_back({"metal", "", found.none, "Apple's GPUs", make_metal});
  }
  if (family.empty() || family == "vulkan") {
    const VulkanDevices& found = vulkan_devices();
    for (std::size_t i = found.devices.size(); i-- > 0;) {
      list.push_back(
          {"vulkan", std::to_string(i), found.devices[i].unavailable, found.devices[i].summary, make_vulkan});
    }
    if (found.devices.empty()) list.push_back({"vulkan", "", found.none, "GPUs of any vendor", make_vulkan});
  }
  return list;
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
  for (const Row& row : rows()) entries.push_back({row.name(), row.unavailable, row.summary});
  return entries;
}

Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads, bool pinned) {
  if (threads < 0 || threads > 1024) {
    return fail("--threads", fmt::format("{} is outside 0..1024", threads),
                "0 is for every processor this process may use");
  }
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
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present);
  return chosen->make(chosen->member, {threads == 0 ? default_threads() : static_cast<int>(threads), pinned});
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
