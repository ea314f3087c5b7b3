#include "run/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>

#include "backend/host_states.h"

namespace clutch {
namespace {

std::int64_t first_number(const std::string& path, std::int64_t otherwise) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? value : otherwise;  // "max" is no number
}

std::string describe_one(const MemoryPlan& plan) {
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  std::string parts;
  for (const MemoryPart& part : plan.parts)
    parts += fmt::format("{}{} {:.1f}", parts.empty() ? "" : ", ", part.what, megabytes(part.bytes));
  return fmt::format("{}about {:.1f} MB ({}) of {:.0f} MB available",
                     plan.place.empty() ? "" : plan.place + " ", megabytes(plan.total()), parts,
                     megabytes(plan.available_bytes));
}

}  // namespace

Result<std::vector<MemoryPlan>> plan_memory(const Backend& backend, const Program& program,
                                            const Workload& workload, std::uint64_t text_tokens) {
  auto parts_of_it = backend.plan(program, workload);
  if (!parts_of_it.ok()) return parts_of_it.status();
  MemoryPlan own{"", available_memory_bytes(), host_parts(program, workload)};
  own.parts.push_back({"text", static_cast<std::int64_t>(2 * text_tokens)});
  std::vector<MemoryPlan> plans{own};
  for (const MemoryPlan& plan : parts_of_it.value()) {
    const auto same =
        std::find_if(plans.begin(), plans.end(), [&](const auto& p) { return p.place == plan.place; });
    MemoryPlan& into =
        same == plans.end() ? plans.emplace_back(MemoryPlan{plan.place, plan.available_bytes, {}}) : *same;
    for (const MemoryPart& part : plan.parts) {
      const auto known = std::find_if(into.parts.begin(), into.parts.end(),
                                      [&](const auto& p) { return p.what == part.what; });
      if (known == into.parts.end())
        into.parts.push_back(part);
      else
        known->bytes += part.bytes;
    }
  }
  return plans;
}

std::int64_t available_memory_bytes() {
  std::int64_t available = std::numeric_limits<std::int64_t>::max();
  std::ifstream file("/proc/meminfo");
  for (std::string name, unit; file >> name;) {
    std::int64_t kilobytes = 0;
    if (!(file >> kilobytes)) break;
    std::getline(file, unit);
    if (name == "MemAvailable:") available = kilobytes * 1024;
  }
  const std::int64_t limit = first_number("/sys/fs/cgroup/memory.max", available);
  return std::min(available, limit);
}

std::string describe(const std::vector<MemoryPlan>& plans) {
  std::string all;
  for (const MemoryPlan& plan : plans) all += (all.empty() ? "" : "; ") + describe_one(plan);
  return all;
}

Status check_memory(const std::vector<MemoryPlan>& plans) {
  for (const MemoryPlan& plan : plans) {
    if (plan.total() <= plan.available_bytes) continue;
    return fail(
        "memory", describe_one(plan) + ": it does not fit",
        plan.place.empty()
            ? "choose a smaller --dim, --layers or --population, or share the population between ranks"
            : "choose a smaller --dim, --layers or --population, --carry reset, more devices "
              "(--backend a,b) or --backend cpu");
  }
  return {};
}

}  // namespace clutch
