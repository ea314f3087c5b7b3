#include "run/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <limits>

namespace clutch {
namespace {

constexpr std::int64_t kPad = 64;             // widths are padded to this
constexpr std::int64_t kTileBytes = 2 << 20;  // slots of a tile, at least
constexpr std::int64_t kTileMembers = 64;     // at most

std::int64_t padded(std::int64_t width) { return (width + kPad - 1) / kPad * kPad; }

std::int64_t first_number(const std::string& path, std::int64_t otherwise) {
  std::ifstream file(path);
  std::int64_t value = 0;
  return file >> value ? value : otherwise;  // "max" is no number
}

}  // namespace

MemoryPlan plan_memory(const Program& program, const Population& population, std::uint32_t pairs_here,
                       std::uint64_t text_tokens, int threads, bool carries, exact::Rule rule) {
  MemoryPlan plan;
  std::int64_t largest = 0, pair_noise = 0, row = 0;
  for (const TensorSpec& tensor : program.tensors) {
    const std::int64_t size = padded(tensor.rows) * (tensor.cols == 1 ? 1 : padded(tensor.cols));
    plan.weights += 2 * tensor.size() + 2 * size;
    largest = std::max(largest, size);
    pair_noise += population.noise.rank * (padded(tensor.rows) + padded(tensor.cols));
  }
  plan.rule = 2 * 4 * program.parameters() * exact::entry(rule).state_count();
  for (const Slot& slot : program.slots) row += padded(slot.width);
  if (carries) plan.states = 2 * std::int64_t{2} * pairs_here * program.state_width();
  plan.text = static_cast<std::int64_t>(2 * text_tokens);
  const std::int64_t tile = std::max(kTileBytes, kTileMembers * row) + kTileMembers * pair_noise;
  const std::int64_t tile_states = carries ? 0 : kTileMembers * program.state_width();
  plan.work = threads * (tile + tile_states) + 4 * largest;
  return plan;
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

std::string describe(const MemoryPlan& plan, std::int64_t available_bytes) {
  const auto megabytes = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1e6; };
  return fmt::format(
      "about {:.1f} MB (weights {:.1f}, rule {:.1f}, states {:.1f}, text {:.1f}, work {:.1f}) of {:.0f} MB "
      "available",
      megabytes(plan.total()), megabytes(plan.weights), megabytes(plan.rule), megabytes(plan.states),
      megabytes(plan.text), megabytes(plan.work), megabytes(available_bytes));
}

Status check_memory(const MemoryPlan& plan, std::int64_t available_bytes) {
  if (plan.total() <= available_bytes) return {};
  return fail("memory", describe(plan, available_bytes) + ": it does not fit",
              "choose a smaller --dim, --layers or --population, or share the population between ranks");
}

}  // namespace clutch
