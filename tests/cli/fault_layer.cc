// A Vulkan layer that makes a device fail, so that tests see what the program does then. CLUTCH_FAULT names
// the fault: "lost:N" loses the device at submission N, "memory:BYTES" has no memory for a larger allocation,
// "heap:BYTES" says that its memory is as large, "int64" hides integers of 64 bits, "barriers" leaves
// barriers out, for layers below to notice. tests/cli/vulkan_test.py loads it by VK_LAYER_PATH and
// VK_INSTANCE_LAYERS.
#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

PFN_vkGetInstanceProcAddr next_instance_proc = nullptr;
PFN_vkGetDeviceProcAddr next_device_proc = nullptr;
PFN_vkGetPhysicalDeviceFeatures2 next_features2 = nullptr;
PFN_vkGetPhysicalDeviceMemoryProperties next_memory_properties = nullptr;
PFN_vkQueueSubmit next_submit = nullptr;
PFN_vkAllocateMemory next_allocate = nullptr;
PFN_vkCmdPipelineBarrier next_barrier = nullptr;
VkInstance the_instance = VK_NULL_HANDLE;
int submissions = 0;

// The number after "<name>:" in CLUTCH_FAULT, or -1 where another fault is asked for.
long long fault(const std::string& name) {
  const char* text = std::getenv("CLUTCH_FAULT");
  if (text == nullptr || std::string(text).rfind(name, 0) != 0) return -1;
  const char* number = std::strchr(text, ':');
  return number == nullptr ? 0 : std::atoll(number + 1);
}

template <class Link>
Link* link_of(const void* chain, VkStructureType type) {
  for (auto* info = static_cast<const Link*>(chain); info != nullptr;
       info = static_cast<const Link*>(info->pNext)) {
    if (info->sType == type && info->function == VK_LAYER_LINK_INFO) return const_cast<Link*>(info);
  }
  return nullptr;
}

VKAPI_ATTR VkResult VKAPI_CALL create_instance(const VkInstanceCreateInfo* info,
                                               const VkAllocationCallbacks* allocator, VkInstance* instance) {
  auto* link = link_of<VkLayerInstanceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO);
  next_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateInstance>(next_instance_proc(nullptr, "vkCreateInstance"));
  const VkResult result = create(info, allocator, instance);
  the_instance = *instance;
  // Asked later, the loader would answer with this layer's own.
  next_features2 = reinterpret_cast<PFN_vkGetPhysicalDeviceFeatures2>(
      next_instance_proc(the_instance, "vkGetPhysicalDeviceFeatures2"));
  next_memory_properties = reinterpret_cast<PFN_vkGetPhysicalDeviceMemoryProperties>(
      next_instance_proc(the_instance, "vkGetPhysicalDeviceMemoryProperties"));
  return result;
}

VKAPI_ATTR VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo* info,
                                             const VkAllocationCallbacks* allocator, VkDevice* device) {
  auto* link = link_of<VkLayerDeviceCreateInfo>(info->pNext, VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO);
  next_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
  const PFN_vkGetInstanceProcAddr instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
  link->u.pLayerInfo = link->u.pLayerInfo->pNext;
  const auto create = reinterpret_cast<PFN_vkCreateDevice>(instance_proc(the_instance, "vkCreateDevice"));
  const VkResult result = create(physical, info, allocator, device);
  if (result != VK_SUCCESS) return result;
  next_submit = reinterpret_cast<PFN_vkQueueSubmit>(next_device_proc(*device, "vkQueueSubmit"));
  next_allocate = reinterpret_cast<PFN_vkAllocateMemory>(next_device_proc(*device, "vkAllocateMemory"));
  next_barrier =
      reinterpret_cast<PFN_vkCmdPipelineBarrier>(next_device_proc(*device, "vkCmdPipelineBarrier"));
  return result;
}

VKAPI_ATTR void VKAPI_CALL features2(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2* features) {
  next_features2(physical, features);
  if (fault("int64") == 0) features->features.shaderInt64 = VK_FALSE;
}

VKAPI_ATTR void VKAPI_CALL memory_properties(VkPhysicalDevice physical,
                                             VkPhysicalDeviceMemoryProperties* memory) {
  next_memory_properties(physical, memory);
  const long long heap = fault("heap");
  for (std::uint32_t i = 0; heap >= 0 && i < memory->memoryHeapCount; ++i)
    memory->memoryHeaps[i].size = static_cast<VkDeviceSize>(heap);
}

VKAPI_ATTR VkResult VKAPI_CALL queue_submit(VkQueue queue, std::uint32_t count, const VkSubmitInfo* infos,
                                            VkFence fence) {
  const long long lost = fault("lost");
  if (lost > 0 && ++submissions >= lost) return VK_ERROR_DEVICE_LOST;
  return next_submit(queue, count, infos, fence);
}

VKAPI_ATTR VkResult VKAPI_CALL allocate(VkDevice device, const VkMemoryAllocateInfo* info,
                                        const VkAllocationCallbacks* allocator, VkDeviceMemory* memory) {
  const long long most = fault("memory");
  if (most >= 0 && info->allocationSize > static_cast<VkDeviceSize>(most))
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
  return next_allocate(device, info, allocator, memory);
}

VKAPI_ATTR void VKAPI_CALL barrier(VkCommandBuffer commands, VkPipelineStageFlags before,
                                   VkPipelineStageFlags after, VkDependencyFlags flags,
                                   std::uint32_t memories, const VkMemoryBarrier* memory,
                                   std::uint32_t buffers, const VkBufferMemoryBarrier* buffer,
                                   std::uint32_t images, const VkImageMemoryBarrier* image) {
  if (fault("barriers") == 0) return;
  next_barrier(commands, before, after, flags, memories, memory, buffers, buffer, images, image);
}

PFN_vkVoidFunction own(const char* name) {
  const struct {
    const char* name;
    PFN_vkVoidFunction function;
  } functions[] = {
      {"vkCreateInstance", reinterpret_cast<PFN_vkVoidFunction>(create_instance)},
      {"vkCreateDevice", reinterpret_cast<PFN_vkVoidFunction>(create_device)},
      {"vkGetPhysicalDeviceFeatures2", reinterpret_cast<PFN_vkVoidFunction>(features2)},
      {"vkGetPhysicalDeviceMemoryProperties", reinterpret_cast<PFN_vkVoidFunction>(memory_properties)},
      {"vkQueueSubmit", reinterpret_cast<PFN_vkVoidFunction>(queue_submit)},
      {"vkAllocateMemory", reinterpret_cast<PFN_vkVoidFunction>(allocate)},
      {"vkCmdPipelineBarrier", reinterpret_cast<PFN_vkVoidFunction>(barrier)}};
  for (const auto& f : functions) {
    if (std::strcmp(f.name, name) == 0) return f.function;
  }
  return nullptr;
}

}  // namespace

extern "C" {

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL clutch_fault_device_proc(VkDevice device, const char* name) {
  const PFN_vkVoidFunction mine = own(name);
  return mine != nullptr ? mine : next_device_proc(device, name);
}

VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL clutch_fault_instance_proc(VkInstance instance, const char* name) {
  if (std::strcmp(name, "vkGetDeviceProcAddr") == 0)
    return reinterpret_cast<PFN_vkVoidFunction>(clutch_fault_device_proc);
  const PFN_vkVoidFunction mine = own(name);
  if (mine != nullptr || next_instance_proc == nullptr) return mine;
  return next_instance_proc(instance, name);
}

}  // extern "C"
