// The CPU backend: threads over tiles of members, one table of kernels per instruction set.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "base/thread_pool.h"

namespace clutch {

// `isa` names a table of kernels ("scalar"); empty takes the fastest that this machine has.
// Fails, listing those present, where the name is unknown or absent here.
Result<std::unique_ptr<Backend>> make_cpu_backend(const std::string& isa, const Threads& threads);

namespace cpu {
struct Kernels;
}

// With any table of kernels, which must outlive it: for benchmarks that look inside.
std::unique_ptr<Backend> make_cpu_backend(const cpu::Kernels& kernels, const Threads& threads);

}  // namespace clutch
