// A backend that computes nothing, for tests of what stands above backends: trainer, log, ranks. Losses are a
// hash of the name of a member's noise, the same in every shard; weights never move.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace clutch {

std::unique_ptr<Backend> make_null_backend();

}  // namespace clutch
