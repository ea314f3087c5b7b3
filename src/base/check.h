// Broken invariants of our own code: print what was expected and both values, then abort. A user can never
// cause one; what a user or a file can cause is a Status.
#pragma once

#include <string>
#include <string_view>

namespace clutch {

[[noreturn]] void check_failed(std::string_view what, const std::string& values);

inline void check(bool condition, std::string_view what) {
  if (!condition) check_failed(what, "");
}

// For integers: aborts with both values unless a == b.
template <class A, class B>
void check_equal(A a, B b, std::string_view what) {
  if (!(a == b)) check_failed(what, std::to_string(a) + " != " + std::to_string(b));
}

}  // namespace clutch
