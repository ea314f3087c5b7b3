// What every backend is compared with the reference on: each op alone at many sizes, each architecture, each
// rule, shapes that once went wrong, and random programs. The lists of ops, architectures and rules are the
// library's own, so that what is new there is a case here, or a failure.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "parity/case.h"

namespace clutch::testing {

struct NamedCase {
  std::string group;  // "op/matmul"
  std::string name;   // "op/matmul/64"
  std::uint64_t seed = 0;
  std::function<Result<parity::Case>()> make;  // fails where nobody has written one
};

// `cases` random programs, from `seed` on; the others' numbers come from their names and `seed`.
std::vector<NamedCase> conformance_cases(std::uint64_t seed, int cases);

}  // namespace clutch::testing
