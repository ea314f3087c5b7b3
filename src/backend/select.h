// Backends by name: the one list of them, and the choice a user makes from it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "base/thread_pool.h"

namespace clutch {

// How fast backends are by what they run on, slowest first.
enum class BackendKind : std::uint8_t {
  kNull,       // computes nothing: never chosen, never compared
  kReference,  // one thread of plain code
  kEmulated,   // a device's interface, run by the processor
  kProcessor,
  kDevice,
};

struct BackendEntry {
  std::string name;         // "cpu:scalar"
  std::string unavailable;  // why it cannot run here; empty where it can
  std::string summary;
  BackendKind kind = BackendKind::kEmulated;
};

// Every backend of this build, whether it can run here or not.
std::vector<BackendEntry> list_backends();

// `name` is one of the list, or a family ("cpu") for its fastest member, or several names with commas between
// ("cpu,cuda:0"), which share the population. Forced means forced: an unknown or
// unavailable name fails, listing what there is. threads 1..1024, or 0 for default_threads(); pinned keeps
// each worker thread on its own processor.
Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads,
                                              bool pinned = false);

// The same for a program, which the backend then supports. Here `name` may also be "auto": the fastest that
// can run it.
Result<std::unique_ptr<Backend>> make_backend_for(const Program& program, const NoiseShape& noise,
                                                  const std::string& name, std::int64_t threads,
                                                  bool pinned = false);

// Whether a backend can run a program.
struct Suitability {
  std::string name;
  std::string why_not;     // what is in the way, on this machine or in the program; empty where it can
  bool automatic = false;  // what "auto" chooses
};

// Of every backend, the fastest first.
std::vector<Suitability> suitable_backends(const Program& program, const NoiseShape& noise);

// Processors this process may use: those of its affinity mask, no more than its container's quota.
int default_threads();

// Of a cgroup's "quota period" in microseconds: processors, rounded up; 0 where it sets none ("max 100000").
int threads_of_quota(const std::string& cpu_max);

}  // namespace clutch
