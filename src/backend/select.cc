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
#include "backend/metal/metal.h"
#include "backend/null/null.h"
#include "backend/reference/reference.h"
#include "backend/several.h"
#include "backend/vulkan/vulkan.h"

namespace clutch {
namespace {

using Make = Result<std::unique_ptr<Backend>> (*)(const std::string& member, const Threads& threads);

Result<std::unique_ptr<Backend>> make_null(const std::string&, const Threads&) { return make_null_backend(); }

Result<std::unique_ptr<Backend>> make_reference(const std::string&, const Threads&) {
  return make_reference_backend();
}

Result<std::unique_ptr<Backend>> make_cpu(const std::string& isa, const Threads& threads) {
  return make_cpu_backend(isa, threads);
}

Result<std::unique_ptr<Backend>> make_vulkan(const std::string& number, const Threads&) {
  return make_vulkan_backend(number);
}

Result<std::unique_ptr<Backend>> make_metal(const std::string& number, const Threads&) {
  return make_metal_backend(number);
}

template <std::size_t kVendor>
Result<std::unique_ptr<Backend>> make_cuda(const std::string& number, const Threads&) {
  auto device = cuda_vendors()[kVendor]->open(std::stoi(number));
  if (!device.ok()) return device.status();
  return make_cuda_backend(std::move(device).value());
}

// One line per backend: family, member, why it cannot run here, what it is, how to make it, what it runs on.
// Of one kind, later rows are faster.
struct Row {
  std::string family, member, unavailable, summary;
  Make make;
  BackendKind kind;

  std::string name() const { return member.empty() ? family : fmt::format("{}:{}", family, member); }
};

std::string family_of(const std::string& name) { return name.substr(0, name.find(':')); }

// A family of devices alone means the first, which drivers say is the best: so that one comes last. One row
// says why there are none.
void add_metal(std::vector<Row>& list) {
  const MetalDevices& found = metal_devices();
  for (std::size_t i = found.devices.size(); i-- > 0;) {
    list.push_back({"metal", std::to_string(i), "", found.devices[i], make_metal, BackendKind::kDevice});
  }
  if (found.devices.empty())
    list.push_back({"metal", "", found.none, "Apple's GPUs", make_metal, BackendKind::kDevice});
}

void add_vulkan(std::vector<Row>& list) {
  const VulkanDevices& found = vulkan_devices();
  for (std::size_t i = found.devices.size(); i-- > 0;) {
    const VulkanDevice& device = found.devices[i];
    list.push_back({"vulkan", std::to_string(i), device.unavailable, device.summary, make_vulkan,
                    device.emulated ? BackendKind::kEmulated : BackendKind::kDevice});
  }
  if (found.devices.empty())
    list.push_back({"vulkan", "", found.none, "GPUs of any vendor", make_vulkan, BackendKind::kDevice});
}

void add_cuda(const cuda::Vendor& vendor, Make make, std::vector<Row>& list) {
  const std::string built = fmt::format("built for {}", vendor.built_for);
  const auto add = [&](const std::string& member, const std::string& unavailable,
                       const std::string& summary) {
    list.push_back({vendor.family, member, unavailable, summary, make, BackendKind::kDevice});
  };
  if (*vendor.absent != 0) return add("", vendor.absent, "");
  std::string problem;
  const int count = vendor.count(problem);
  if (count == 0) add("", problem + "; " + built, "");
  for (int i = count - 1; i >= 0; --i)
    add(std::to_string(i), "", fmt::format("{}; {}", vendor.summary, built));
}

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
                    make_cpu, BackendKind::kProcessor});
  }
  const auto wanted = [&](const std::string& one) { return family.empty() || family == one; };
  if (wanted("metal")) add_metal(list);
  if (wanted("vulkan")) add_vulkan(list);
  const std::vector<const cuda::Vendor*> vendors = cuda_vendors();
  constexpr Make kMakers[] = {make_cuda<0>, make_cuda<1>};
  for (std::size_t i = 0; i < vendors.size(); ++i) {
    if (wanted(vendors[i]->family)) add_cuda(*vendors[i], kMakers[i], list);
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

Status refuse(const std::string& name) {
  std::string present, unavailable;
  for (const Row& row : rows()) {
    if (row.unavailable.empty()) present += (present.empty() ? "" : ", ") + row.name();
    if (row.name() == name || row.name() == family_of(name)) unavailable = row.unavailable;
  }
  if (unavailable.empty())
    return fail("--backend", fmt::format("'{}' is unknown", name), "choose from: " + present + ", auto");
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

// Several that share a population; those on the processor share its threads.
Result<std::unique_ptr<Backend>> make_several(const std::vector<std::string>& names, const Threads& threads) {
  const auto on_cpu =
      std::count_if(names.begin(), names.end(), [](const auto& name) { return family_of(name) == "cpu"; });
  const Threads share(std::max(1, threads.count / std::max(1, static_cast<int>(on_cpu))), threads.pinned);
  std::vector<std::unique_ptr<Backend>> parts;
  for (const std::string& name : names) {
    auto made = make_one(name, share);
    if (!made.ok()) return made.status();
    parts.push_back(std::move(made).value());
  }
  return make_several_backends(std::move(parts));
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
  std::vector<std::string> names;
  for (std::size_t begin = 0, end = 0; end != std::string::npos; begin = end + 1) {
    end = name.find(',', begin);
    names.push_back(name.substr(begin, end - begin));
  }
  const Threads all = threads_of(threads, pinned);
  return names.size() == 1 ? make_one(name, all) : make_several(names, all);
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
    Suitability& one = all.emplace_back(Suitability{.name = row.name(), .why_not = row.unavailable});
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
