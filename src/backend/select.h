// Backends by name: the one list of them, and the choice a user makes from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"

namespace clutch {

struct BackendEntry {
  std::string name;         // "cpu:scalar"
  std::string unavailable;  // why it cannot run here; empty where it can
  std::string summary;
};

// Every backend of this build, whether it can run here or not.
std::vector<BackendEntry> list_backends();

// `name` is one of the list, or a family ("cpu") for its fastest member, or several names with commas between
// ("cpu,cuda:0"), which share the population. Forced means forced: an unknown or
// unavailable name fails, listing what there is. threads 1..1024, or 0 for default_threads(); pinned keeps
// each worker thread on its own processor.
Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads,
                                              bool pinned = false);

// Processors this process may use: those of its affinity mask, no more than its container's quota.
int default_threads();

// Of a cgroup's "quota period" in microseconds: processors, rounded up; 0 where it sets none ("max 100000").
int threads_of_quota(const std::string& cpu_max);

}  // namespace clutch
