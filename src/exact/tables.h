// The tables behind exact/: integers nearest to values of real functions. tools/make_tables.py makes them and
// tests/exact checks every entry against long double.
#pragma once

#include <cstdint>

namespace clutch::exact {

#include "exact/tables.inc"

}  // namespace clutch::exact
