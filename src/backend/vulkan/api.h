// The Vulkan functions in use, fetched from the loader when it is first needed: a program linked to the
// loader would not start on machines without one.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include <string>

#include "base/status.h"

namespace clutch::vulkan {

#define CLUTCH_VULKAN_INSTANCE(X)                                                                          \
  X(vkDestroyInstance)                                                                                     \
  X(vkEnumeratePhysicalDevices)                                                                            \
  X(vkGetPhysicalDeviceProperties)                                                                         \
  X(vkGetPhysicalDeviceProperties2) X(vkGetPhysicalDeviceFeatures2) X(vkGetPhysicalDeviceMemoryProperties) \
      X(vkGetPhysicalDeviceQueueFamilyProperties) X(vkCreateDevice) X(vkGetDeviceProcAddr)

#define CLUTCH_VULKAN_DEVICE(X)                                                                           \
  X(vkDestroyDevice)                                                                                      \
  X(vkGetDeviceQueue)                                                                                     \
  X(vkCreateBuffer)                                                                                       \
  X(vkDestroyBuffer) X(vkGetBufferMemoryRequirements) X(vkAllocateMemory) X(vkFreeMemory)                 \
      X(vkBindBufferMemory) X(vkMapMemory) X(vkCreateCommandPool) X(vkDestroyCommandPool)                 \
          X(vkAllocateCommandBuffers) X(vkBeginCommandBuffer) X(vkEndCommandBuffer) X(vkResetCommandPool) \
              X(vkCmdBindPipeline) X(vkCmdBindDescriptorSets) X(vkCmdPushConstants) X(vkCmdDispatch)      \
                  X(vkCmdCopyBuffer) X(vkCmdFillBuffer) X(vkCmdPipelineBarrier) X(vkQueueSubmit)          \
                      X(vkCreateFence) X(vkDestroyFence) X(vkWaitForFences) X(vkResetFences)              \
                          X(vkCreateShaderModule) X(vkDestroyShaderModule) X(vkCreateDescriptorSetLayout) \
                              X(vkDestroyDescriptorSetLayout) X(vkCreatePipelineLayout)                   \
                                  X(vkDestroyPipelineLayout) X(vkCreateComputePipelines)                  \
                                      X(vkDestroyPipeline) X(vkCreateDescriptorPool)                      \
                                          X(vkDestroyDescriptorPool) X(vkResetDescriptorPool)             \
                                              X(vkAllocateDescriptorSets) X(vkUpdateDescriptorSets)       \
                                                  X(vkDeviceWaitIdle)

#define CLUTCH_VULKAN_MEMBER(name) PFN_##name name = nullptr;

struct Loader {
  PFN_vkGetInstanceProcAddr vkGetInstanceProcAddr = nullptr;
  PFN_vkCreateInstance vkCreateInstance = nullptr;
};

struct InstanceApi {
  CLUTCH_VULKAN_INSTANCE(CLUTCH_VULKAN_MEMBER)
};

struct DeviceApi {
  CLUTCH_VULKAN_DEVICE(CLUTCH_VULKAN_MEMBER)
};

// Fails where the machine has no loader, or one too old for Vulkan 1.1.
Result<Loader> find_loader();

}  // namespace clutch::vulkan
