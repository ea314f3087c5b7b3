// Failures that are somebody's fault: a user's, a file's, a device's. Each names its subject (a file, a flag,
// an instruction), what is wrong with the value, and a way out. Broken invariants of our own are not
// statuses: they abort, in check.h.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include "base/check.h"

namespace clutch {

class [[nodiscard]] Status {
 public:
  Status() = default;  // success

  bool ok() const { return subject_.empty(); }

  // "subject: problem; hint", or "ok".
  std::string message() const;

  friend Status fail(std::string subject, std::string problem, std::string hint);

 private:
  std::string subject_, problem_, hint_;
};

// A failure. `subject` is the file, flag or instruction (shown as '' where empty); `problem` says what is
// wrong and quotes the value; `hint` is the way out, as an imperative ("pass --force to overwrite it").
Status fail(std::string subject, std::string problem, std::string hint);

// A value or the failure that kept it from being made.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}        // NOLINT(google-explicit-constructor)
  Result(Status status) : state_(std::move(status)) {  // NOLINT(google-explicit-constructor)
    check(!std::get<Status>(state_).ok(), "a Result made from a Status must hold a failure");
  }

  bool ok() const { return std::holds_alternative<T>(state_); }
  Status status() const { return ok() ? Status() : std::get<Status>(state_); }

  // Only when ok(); anything else is a broken invariant and aborts with the failure's message.
  T& value() & { return (require(), std::get<T>(state_)); }
  const T& value() const& { return (require(), std::get<T>(state_)); }
  T&& value() && { return (require(), std::get<T>(std::move(state_))); }

 private:
  void require() const {
    if (!ok()) check_failed("value() of a failed Result", std::get<Status>(state_).message());
  }
  std::variant<T, Status> state_;
};

// Leaves the enclosing function with the failure, if there is one.
#define CLUTCH_RETURN_IF_ERROR(expression)                                            \
  do {                                                                                \
    if (auto clutch_status = (expression); !clutch_status.ok()) return clutch_status; \
  } while (false)

}  // namespace clutch
