// The update on the CPU: votes as a matrix product over pairs, tensor by tensor, then the rule.
#pragma once

#include "backend/cpu/loaded.h"
#include "base/thread_pool.h"

namespace clutch::cpu {

UpdateResult update(LoadedModel& model, const UpdateRequest& request, ThreadPool& pool);

}  // namespace clutch::cpu
