#include "backend/vulkan/instance.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <mutex>

namespace clutch::vulkan {
namespace {

// Bindings of the largest kernel.
constexpr std::uint32_t kStorageBuffers = 13;
constexpr std::uint32_t kIterationsOfLavapipe =
    60'000;  // of 65,535: what is counted is a bound, with some room

}  // namespace

Result<Loader> find_loader() {
  void* library = nullptr;
  for (const char* name : {"libvulkan.so.1", "libvulkan.so", "libvulkan.1.dylib"}) {
    if (library == nullptr) library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
  }
  const std::string hint = "install libvulkan1 and your device's driver, or use --backend cpu";
  if (library == nullptr) return fail("vulkan", "this machine has no Vulkan loader (libvulkan.so.1)", hint);
  Loader loader;
  loader.vkGetInstanceProcAddr =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  if (loader.vkGetInstanceProcAddr == nullptr) return fail("vulkan", "its loader is damaged", hint);
  const auto global = [&](const char* name) { return loader.vkGetInstanceProcAddr(nullptr, name); };
  loader.vkCreateInstance = reinterpret_cast<PFN_vkCreateInstance>(global("vkCreateInstance"));
  if (loader.vkCreateInstance == nullptr || global("vkEnumerateInstanceVersion") == nullptr) {
    return fail("vulkan", "its loader is older than Vulkan 1.1", hint);
  }
  return loader;
}

Status to_status(VkResult result, const std::string& device, const std::string& what) {
  switch (result) {
    case VK_SUCCESS:
      return {};
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return fail(device, "is out of memory: " + what,
                  "use a smaller --population or model, or --backend cpu; a run goes on with --resume");
    case VK_ERROR_DEVICE_LOST:
      return fail(
          device, "was lost: " + what,
          "a run goes on from its last checkpoint with --resume, on this device or with --backend cpu");
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return fail(device, "no driver fits: " + what,
                  "install your device's Vulkan driver, or use --backend cpu");
    default:
      return fail(device, fmt::format("failed with Vulkan's code {}: {}", static_cast<int>(result), what),
                  "update its driver, or use --backend cpu; a run goes on with --resume");
  }
}

Result<std::shared_ptr<Instance>> Instance::get() {
  static std::mutex mutex;
  static auto& kept = *new std::shared_ptr<Instance>;
  const std::lock_guard lock(mutex);
  if (kept == nullptr) {
    auto made = create();
    if (!made.ok()) return made.status();
    kept = std::move(made).value();
  }
  return kept;
}

Result<std::shared_ptr<Instance>> Instance::create() {
  auto loader = find_loader();
  if (!loader.ok()) return loader.status();
  auto instance = std::shared_ptr<Instance>(new Instance);
  VkApplicationInfo application{};
  application.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO;
  application.pApplicationName = "clutch";
  application.apiVersion = VK_API_VERSION_1_3;
  VkInstanceCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO;
  info.pApplicationInfo = &application;
  CLUTCH_RETURN_IF_ERROR(to_status(loader.value().vkCreateInstance(&info, nullptr, &instance->instance_),
                                   "vulkan", "starting it"));
#define CLUTCH_VULKAN_FETCH(name) \
  instance->api_.name =           \
      reinterpret_cast<PFN_##name>(loader.value().vkGetInstanceProcAddr(instance->instance_, #name));
  CLUTCH_VULKAN_INSTANCE(CLUTCH_VULKAN_FETCH)
#undef CLUTCH_VULKAN_FETCH

  std::uint32_t count = 0;
  const InstanceApi& vk = instance->api_;
  CLUTCH_RETURN_IF_ERROR(to_status(vk.vkEnumeratePhysicalDevices(instance->instance_, &count, nullptr),
                                   "vulkan", "listing devices"));
  std::vector<VkPhysicalDevice> handles(count);
  CLUTCH_RETURN_IF_ERROR(to_status(vk.vkEnumeratePhysicalDevices(instance->instance_, &count, handles.data()),
                                   "vulkan", "listing devices"));
  for (const VkPhysicalDevice handle : handles) {
    PhysicalDevice& device = instance->devices_.emplace_back();
    device.handle = handle;
    instance->look_at(device);
  }
  return instance;
}

Instance::~Instance() {
  if (instance_ != VK_NULL_HANDLE && api_.vkDestroyInstance != nullptr)
    api_.vkDestroyInstance(instance_, nullptr);
}

void Instance::look_at(PhysicalDevice& device) const {
  api_.vkGetPhysicalDeviceProperties(device.handle, &device.properties);
  const VkPhysicalDeviceProperties& p = device.properties;
  if (p.apiVersion < VK_API_VERSION_1_1) {
    device.unavailable = "its driver is older than Vulkan 1.1";
    return;
  }
  VkPhysicalDeviceShaderIntegerDotProductFeatures dot{};
  dot.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SHADER_INTEGER_DOT_PRODUCT_FEATURES;
  VkPhysicalDeviceFeatures2 features{};
  features.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
  // Lavapipe leaves all loops of an invocation after 65,535 iterations in sum and says nothing.
  VkPhysicalDeviceDriverProperties driver{};
  driver.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES;
  VkPhysicalDeviceProperties2 properties{};
  properties.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2;
  if (p.apiVersion >= VK_API_VERSION_1_2) properties.pNext = &driver;
  api_.vkGetPhysicalDeviceProperties2(device.handle, &properties);
  if (driver.driverID == VK_DRIVER_ID_MESA_LLVMPIPE) device.iterations = kIterationsOfLavapipe;
  // The dot product is part of Vulkan 1.3.
  if (p.apiVersion >= VK_API_VERSION_1_3) features.pNext = &dot;
  api_.vkGetPhysicalDeviceFeatures2(device.handle, &features);
  device.has_dot = dot.shaderIntegerDotProduct == VK_TRUE;
  if (features.features.shaderInt64 != VK_TRUE) {
    device.unavailable = "it has no integers of 64 bits (shaderInt64)";
    return;
  }
  if (p.limits.maxPerStageDescriptorStorageBuffers < kStorageBuffers) {
    device.unavailable = fmt::format("it binds {} buffers to a kernel, fewer than {}",
                                     p.limits.maxPerStageDescriptorStorageBuffers, kStorageBuffers);
    return;
  }
  std::uint32_t count = 0;
  api_.vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, nullptr);
  std::vector<VkQueueFamilyProperties> families(count);
  api_.vkGetPhysicalDeviceQueueFamilyProperties(device.handle, &count, families.data());
  for (std::uint32_t f = 0; f < count; ++f) {
    if ((families[f].queueFlags & VK_QUEUE_COMPUTE_BIT) == 0) continue;
    device.queue_family = f;
    return;
  }
  device.unavailable = "it has no queue that computes";
}

}  // namespace clutch::vulkan
