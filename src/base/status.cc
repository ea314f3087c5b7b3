#include "base/status.h"

#include <cstdio>
#include <cstdlib>

namespace clutch {

std::string Status::message() const {
  if (ok()) return "ok";
  return subject_ + ": " + problem_ + (hint_.empty() ? "" : "; " + hint_);
}

Status fail(std::string subject, std::string problem, std::string hint) {
  Status status;
  status.subject_ = subject.empty() ? "''" : std::move(subject);  // a user may name nothing
  status.problem_ = std::move(problem);
  status.hint_ = std::move(hint);
  return status;
}

void check_failed(std::string_view what, const std::string& values) {
  std::fprintf(stderr, "clutch: broken invariant: %.*s%s%s\nThis is a bug in clutch; please report it.\n",
               static_cast<int>(what.size()), what.data(), values.empty() ? "" : ": ", values.c_str());
  std::abort();
}

}  // namespace clutch
