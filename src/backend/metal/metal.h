// The Metal backend: device/engine.h on Apple's devices, one per number. Built on Apple's systems alone.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace clutch {

// The names of this machine's devices, by number; `none` says why where there are none.
struct MetalDevices {
  std::vector<std::string> devices;
  std::string none;
};
const MetalDevices& metal_devices();

// `number` of the list, as text.
Result<std::unique_ptr<Backend>> make_metal_backend(const std::string& number);

}  // namespace clutch
