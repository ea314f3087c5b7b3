#include "evolution/schedule.h"

#include <algorithm>
#include <iterator>

#include "exact/arithmetic.h"
#include "exact/tables.h"

namespace clutch {
namespace {

constexpr std::string_view kNames[] = {
#define CLUTCH_SCHEDULE_NAME(name, ...) #name,
    CLUTCH_SCHEDULES(CLUTCH_SCHEDULE_NAME)
#undef CLUTCH_SCHEDULE_NAME
};

// (1 + cos(π t / length)) / 2 with 30 fractional bits: the table, interpolated, rounded up.
std::uint64_t raised_cosine(std::uint64_t t, std::uint64_t length) {
  const std::uint64_t place = (std::min(t, length) << 24) / length, i = place >> 16, rest = place & 0xFFFF;
  if (i + 1 == std::size(exact::kRaisedCosineTable)) return exact::kRaisedCosineTable[i];
  const std::uint64_t fall = exact::kRaisedCosineTable[i] - exact::kRaisedCosineTable[i + 1];
  return exact::kRaisedCosineTable[i] - (fall * rest >> 16);
}

}  // namespace

std::optional<ScheduleShape> find_schedule(std::string_view name) {
  const auto* found = std::find(std::begin(kNames), std::end(kNames), name);
  if (found == std::end(kNames)) return std::nullopt;
  return static_cast<ScheduleShape>(found - kNames);
}

std::vector<std::string_view> schedule_names() { return {std::begin(kNames), std::end(kNames)}; }

std::uint64_t Schedule::at(std::uint64_t step) const {
  constexpr std::uint64_t kOne = std::uint64_t{1} << 30;
  std::uint64_t value = start_q30;
  if (shape == ScheduleShape::inverse) value = start_q30 * kOne / (kOne + decay_q30 * step);
  if (shape == ScheduleShape::root)
    value = (start_q30 << 16) / exact::square_root_floor((kOne + decay_q30 * step) << 2);
  if (shape == ScheduleShape::cosine) value = start_q30 * raised_cosine(step, length) >> 30;
  if (step < warmup) value = value * (step + 1) / warmup;
  if (cooldown > 0 && step + cooldown >= length) {
    value = value * (length - std::min(length, step)) / (cooldown + 1);
  }
  return std::max<std::uint64_t>(1, value);
}

}  // namespace clutch
