// A number that changes from step to step: the share alpha of the threshold rule, the rate of the others.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace clutch {

// X(name, its formula of the step t, before warm-up and cooldown)
#define CLUTCH_SCHEDULES(X)              \
  X(constant, "start")                   \
  X(inverse, "start / (1 + decay * t)")  \
  X(root, "start / sqrt(1 + decay * t)") \
  X(cosine, "start * (1 + cos(pi * t / length)) / 2, and nothing from t = length on")

enum class ScheduleShape : std::uint8_t {
#define CLUTCH_SCHEDULE_ENUM(name, ...) name,
  CLUTCH_SCHEDULES(CLUTCH_SCHEDULE_ENUM)
#undef CLUTCH_SCHEDULE_ENUM
};

std::optional<ScheduleShape> find_schedule(std::string_view name);  // nothing where the name is unknown
std::vector<std::string_view> schedule_names();

// Numbers with 30 fractional bits. Steps are below 2^31.
struct Schedule {
  ScheduleShape shape = ScheduleShape::inverse;
  std::uint64_t start_q30 = 1u << 29;  // in (0, 2^33]
  std::uint64_t decay_q30 = 0;         // inverse, root: below 2^30 (1 per step)
  std::uint64_t length = 1;            // of a cosine, and where a cooldown ends: in steps, in 1..2^31
  std::uint64_t warmup = 0;    // the first so many steps rise evenly to the shape's value; at most 2^30
  std::uint64_t cooldown = 0;  // the last so many steps of the length fall evenly to nothing; at most 2^30

  // At least 1 (that is 2^-30). docs/NUMERICS.md has the roundings.
  std::uint64_t at(std::uint64_t step) const;
};

}  // namespace clutch
