// In place of the Metal backend on other systems than Apple's.
#include "backend/metal/metal.h"

namespace clutch {

const MetalDevices& metal_devices() {
  static const MetalDevices none{{}, "this build is not for an Apple system"};
  return none;
}

Result<std::unique_ptr<Backend>> make_metal_backend(const std::string&) {
  return fail("--backend metal", metal_devices().none, "use --backend vulkan or cpu");
}

}  // namespace clutch
