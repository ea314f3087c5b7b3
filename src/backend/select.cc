#include "backend/select.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <thread>

#include "backend/cpu/cpu.h"
#include "backend/cpu/isa_list.h"
#include "backend/cuda/cuda.h"
#include "backend/reference/reference.h"
#include "backend/several.h"

namespace clutch {
namespace {

Result<std::unique_ptr<Backend>> make_reference(const std::string&, const Threads&) {
  return make_reference_backend();
}

Result<std::unique_ptr<Backend>> make_cpu(const std::string& isa, const Threads& threads) {
  return make_cpu_backend(isa, threads);
}

template <std::size_t kVendor>
Result<std::unique_ptr<Backend>> make_cuda(const std::string& index, const Threads&) {
  auto device = cuda_vendors()[kVendor]->open(std::stoi(index));
  if (!device.ok()) return device.status();
  return make_cuda_backend(std::move(device).value());
}

// One line per backend: family, member, why it cannot run here, what it is, how to make it.
struct Row {
  std::string family, member, unavailable, summary;
  Result<std::unique_ptr<Backend>> (*make)(const std::string& member, const Threads& threads);

  std::string name() const { return member.empty() ? family : fmt::format("{}:{}", family, member); }
};

std::string family_of(const std::string& name) { return name.substr(0, name.find(':')); }

// A vendor's devices, the first one last: of a family the last row is taken. One row says why there are none.
void add_devices(const cuda::Vendor& vendor, decltype(Row::make) make, std::vector<Row>& list) {
  const std::string built = fmt::format("built for {}", vendor.built_for);
  if (*vendor.absent != 0) return list.push_back({vendor.family, "", vendor.absent, "", make});
  std::string problem;
  const int count = vendor.count(problem);
  if (count == 0) list.push_back({vendor.family, "", problem + "; " + built, "", make});
  for (int i = count - 1; i >= 0; --i)
    list.push_back(
        {vendor.family, std::to_string(i), "", "a GPU: never run on hardware yet; " + built, make});
}

// Starting a vendor's driver takes time: only the devices of `family` are looked for, or all where it is
// empty.
std::vector<Row> rows(const std::string& family) {
  std::vector<Row> list{
      {"reference", "", "", "the meaning itself: scalar, one thread, slow", make_reference}};
  for (const cpu::Isa& isa : cpu::instruction_sets()) {
    const std::string missing = isa.missing();
    list.push_back(
        {"cpu", isa.name, missing.empty() ? "" : "the processor lacks " + missing, isa.summary, make_cpu});
  }
  const std::vector<const cuda::Vendor*> vendors = cuda_vendors();
  const decltype(Row::make) makers[] = {make_cuda<0>, make_cuda<1>};
  for (std::size_t i = 0; i < vendors.size(); ++i) {
    if (family.empty() || family == vendors[i]->family) add_devices(*vendors[i], makers[i], list);
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
  for (const Row& row : rows("")) entries.push_back({row.name(), row.unavailable, row.summary});
  return entries;
}

namespace {

Status refuse(const std::string& name) {
  std::string present, unavailable;
  for (const Row& row : rows("")) {
    if (row.unavailable.empty()) present += (present.empty() ? "" : ", ") + row.name();
    if (row.name() == name || row.name() == family_of(name)) unavailable = row.unavailable;
  }
  if (unavailable.empty())
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present);
  return fail("--backend", fmt::format("'{}' cannot run here: {}", name, unavailable),
              "this machine has: " + present);
}

Result<std::unique_ptr<Backend>> make_one(const std::string& name, const Threads& threads) {
  const std::vector<Row> list = rows(family_of(name));
  const Row* chosen = nullptr;
  for (const Row& row : list) {
    if (row.unavailable.empty() && (row.name() == name || row.family == name))
      chosen = &row;  // later rows of a family are faster
  }
  if (chosen == nullptr) return refuse(name);
  return chosen->make(chosen->member, threads);
}

}  // namespace

Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads, bool pinned) {
  if (threads < 0 || threads > 1024) {
    return fail("--threads", fmt::format("{} is outside 0..1024", threads),
                "0 is for every processor this process may use");
  }
  std::vector<std::string> names;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = name.find(',', begin);
    names.push_back(name.substr(begin, end - begin));
  }
  // Backends of one kind of processor share its threads.
  const auto on_cpu =
      std::count_if(names.begin(), names.end(), [](const auto& n) { return family_of(n) == "cpu"; });
  const int all = threads == 0 ? default_threads() : static_cast<int>(threads);
  const Threads share(std::max(1, all / std::max(1, static_cast<int>(on_cpu))), pinned);
  if (names.size() == 1) return make_one(name, share);
  std::vector<std::unique_ptr<Backend>> parts;
  for (const std::string& part : names) {
    auto made = make_one(part, share);
    if (!made.ok()) return made.status();
    parts.push_back(std::move(made).value());
  }
  return make_several_backends(std::move(parts));
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
