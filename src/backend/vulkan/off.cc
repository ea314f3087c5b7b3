// In place of the Vulkan backend in builds without it.
#include "backend/vulkan/vulkan.h"

namespace clutch {
namespace {

constexpr const char* kWhy = "this build has no Vulkan";

Status off() {
  return fail("--backend vulkan", kWhy,
              "install libvulkan-dev and glslang-tools and build again, or use --backend cpu");
}

}  // namespace

const VulkanDevices& vulkan_devices() {
  static const VulkanDevices none{{}, std::string(kWhy) + ": libvulkan-dev or glslang-tools was missing"};
  return none;
}

Result<std::unique_ptr<Backend>> make_vulkan_backend(const std::string&) { return off(); }
Result<std::shared_ptr<device::Gpu>> make_vulkan_gpu(const std::string&, std::uint32_t) { return off(); }

}  // namespace clutch
