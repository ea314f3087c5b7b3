// What kernels read besides a program's own data: shared.h in C++, and the tables of exact/ as words.
#pragma once

#include <cstdint>
#include <vector>

namespace clutch::device {

using uint = std::uint32_t;
#include "backend/device/shaders/shared.h"

std::vector<std::uint32_t> make_tables();  // [kTableWords]

}  // namespace clutch::device
