// The reference interpreter: what a program means. Scalar, single-threaded and plain; it shares nothing with
// the fast backends but exact/. Slow on purpose wherever that reads better.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace clutch {

std::unique_ptr<Backend> make_reference_backend();

}  // namespace clutch
