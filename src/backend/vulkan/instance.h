// A Vulkan instance and the physical devices it knows.
#pragma once

#include <memory>
#include <vector>

#include "backend/vulkan/api.h"

namespace clutch::vulkan {

struct PhysicalDevice {
  VkPhysicalDevice handle = VK_NULL_HANDLE;
  VkPhysicalDeviceProperties properties{};
  std::uint32_t queue_family = 0;  // one that computes
  std::uint32_t iterations = 0;    // as device::Limits has them
  bool has_dot = false;            // the instruction for dot products of packed int8
  std::string unavailable;         // why it cannot run programs; empty where it can
};

class Instance {
 public:
  // The process's one. It is never destroyed: a driver of NVIDIA (580) that had started and been let go
  // several times would not start again.
  static Result<std::shared_ptr<Instance>> get();
  ~Instance();
  Instance(const Instance&) = delete;

  const InstanceApi& api() const { return api_; }
  const std::vector<PhysicalDevice>& devices() const { return devices_; }

 private:
  Instance() = default;
  static Result<std::shared_ptr<Instance>> create();
  void look_at(PhysicalDevice& device) const;

  InstanceApi api_;
  VkInstance instance_ = VK_NULL_HANDLE;
  std::vector<PhysicalDevice> devices_;
};

// The failure behind a result, or success. `device` as users name it.
Status to_status(VkResult result, const std::string& device, const std::string& what);

}  // namespace clutch::vulkan
