// The instruction sets of this build: the one list of them, with what tells whether this machine has each.
#pragma once

#include <span>
#include <string>

#include "backend/cpu/kernels.h"
#include "base/status.h"

namespace clutch::cpu {

struct Isa {
  const char* name;  // "avx2"
  const char* summary;
  const char* (*missing)();  // the processor's feature that is not there; empty where all are
  const Kernels& (*kernels)();
};

// From the slowest to the fastest.
std::span<const Isa> instruction_sets();

// By name; empty takes the fastest that runs here. Fails, listing those present.
Result<const Kernels*> find_kernels(const std::string& isa);

}  // namespace clutch::cpu
