// device::Gpu on Vulkan: one command buffer that is recorded, submitted and waited for.
#include "backend/vulkan/gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "backend/device/tables.h"
#include "backend/vulkan/memory.h"
#include "backend/vulkan/shaders.h"
#include "base/check.h"

namespace clutch::vulkan {
namespace {

constexpr std::uint32_t kSetsPerPool = 64, kMostBindings = 13, kPushBytes = 128;
constexpr std::uint64_t kStagingBytes = 1 << 20;
// Measured on lavapipe with D=64 L=2: 8 and 16 are best, each doubling from there doubles the time.
constexpr std::uint32_t kLanesOfCpu = 16;

// Memory of the host that copies go through. Blocks beyond the first are given back after each submission.
class Staging {
 public:
  Staging(std::shared_ptr<Device> device, Place place) : device_(std::move(device)), place_(place) {}

  struct Slice {
    VulkanBuffer* buffer;
    std::uint64_t offset;
    std::byte* mapped() const { return buffer->mapped() + offset; }
  };
  Result<Slice> take(std::uint64_t bytes) {
    if (blocks_.empty() || used_ + bytes > blocks_.back()->bytes()) {
      auto made = VulkanBuffer::create(device_, std::max(bytes, kStagingBytes), place_);
      if (!made.ok()) return made.status();
      blocks_.push_back(std::move(made).value());
      used_ = 0;
    }
    const Slice slice{blocks_.back().get(), used_};
    used_ += (bytes + 15) & ~std::uint64_t{15};
    return slice;
  }
  void reset() {
    if (blocks_.size() > 1) blocks_.clear();
    used_ = 0;
  }

 private:
  const std::shared_ptr<Device> device_;
  const Place place_;
  std::vector<std::unique_ptr<VulkanBuffer>> blocks_;
  std::uint64_t used_ = 0;
};

struct Pipeline {
  VkShaderModule module = VK_NULL_HANDLE;
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;
  VkPipelineLayout layout = VK_NULL_HANDLE;
  VkPipeline pipeline = VK_NULL_HANDLE;
};

class VulkanGpu : public device::Gpu {
 public:
  VulkanGpu(std::shared_ptr<Device> device, std::uint32_t lanes)
      : device_(std::move(device)),
        lanes_(lanes),
        vk_(device_->api),
        upload_(device_, Place::kUpload),
        download_(device_, Place::kDownload) {}
  ~VulkanGpu() override;

  Status open();

  std::string name() const override { return device_->name; }

  device::Limits limits() const override {
    const VkPhysicalDeviceLimits& limits = device_->physical->properties.limits;
    return {limits.maxStorageBufferRange, limits.maxComputeSharedMemorySize, lanes_,
            device_->physical->iterations};
  }

  std::uint64_t memory_bytes() const override { return heap_bytes(*device_); }

  Result<std::unique_ptr<device::Buffer>> make_buffer(std::uint64_t bytes) override {
    auto made = VulkanBuffer::create(device_, bytes, Place::kDevice);
    if (!made.ok()) return made.status();
    return std::unique_ptr<device::Buffer>(std::move(made).value());
  }

  Status upload(device::Buffer& to, std::uint64_t offset, std::span<const std::byte> from) override {
    CLUTCH_RETURN_IF_ERROR(begin());
    auto slice = upload_.take(from.size());
    if (!slice.ok()) return slice.status();
    std::memcpy(slice.value().mapped(), from.data(), from.size());
    record_copy(slice.value().buffer->handle(), slice.value().offset, handle(to), offset, from.size());
    traffic_.bytes_up += from.size();
    return {};
  }

  Status zero(device::Buffer& buffer) override {
    CLUTCH_RETURN_IF_ERROR(begin());
    vk_.vkCmdFillBuffer(commands_, handle(buffer), 0, buffer.bytes(), 0);
    order();
    return {};
  }

  Status copy(const device::Buffer& from, std::uint64_t offset, device::Buffer& to, std::uint64_t to_offset,
              std::uint64_t bytes) override {
    CLUTCH_RETURN_IF_ERROR(begin());
    record_copy(handle(from), offset, handle(to), to_offset, bytes);
    return {};
  }

  Status dispatch(device::Kernel kernel, std::uint32_t lanes, std::span<device::Buffer* const> buffers,
                  std::span<const std::byte> push, std::uint32_t groups_x, std::uint32_t groups_y) override;

  Status download(const device::Buffer& from, std::uint64_t offset, std::span<std::byte> to) override {
    CLUTCH_RETURN_IF_ERROR(begin());
    auto slice = download_.take(to.size());
    if (!slice.ok()) return slice.status();
    record_copy(handle(from), offset, slice.value().buffer->handle(), slice.value().offset, to.size());
    fetches_.push_back({slice.value().mapped(), to});
    traffic_.bytes_down += to.size();
    return {};
  }

  Status submit() override;

 private:
  static VkBuffer handle(const device::Buffer& buffer) {
    return static_cast<const VulkanBuffer&>(buffer).handle();
  }
  Status status(VkResult result, const char* what) const { return to_status(result, device_->name, what); }

  Status begin();
  Status make_pipeline(device::Kernel kernel, std::uint32_t lanes, std::uint32_t bindings, Pipeline& p);
  Result<VkDescriptorSet> make_set(const Pipeline& pipeline, std::span<device::Buffer* const> buffers);

  void record_copy(VkBuffer from, std::uint64_t offset, VkBuffer to, std::uint64_t to_offset,
                   std::uint64_t bytes) {
    const VkBufferCopy region{offset, to_offset, bytes};
    vk_.vkCmdCopyBuffer(commands_, from, to, 1, &region);
    order();
  }

  // Whatever follows sees what was recorded before, and so does the host after the submission.
  void order() {
    constexpr VkPipelineStageFlags kStages =
        VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
    VkMemoryBarrier barrier{};
    barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
    barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
    barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                            VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT |
                            VK_ACCESS_HOST_READ_BIT;
    vk_.vkCmdPipelineBarrier(commands_, kStages, kStages | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0,
                             nullptr, 0, nullptr);
  }

  const std::shared_ptr<Device> device_;
  const std::uint32_t lanes_;
  const DeviceApi& vk_;
  Staging upload_, download_;
  std::map<std::pair<device::Kernel, std::uint32_t>, Pipeline> pipelines_;  // by kernel and lanes
  VkCommandPool command_pool_ = VK_NULL_HANDLE;
  VkCommandBuffer commands_ = VK_NULL_HANDLE;
  VkFence fence_ = VK_NULL_HANDLE;
  std::vector<VkDescriptorPool> set_pools_;
  std::size_t sets_ = 0;  // taken since the last submission
  bool recording_ = false;
  struct Fetch {
    const std::byte* from;
    std::span<std::byte> to;
  };
  std::vector<Fetch> fetches_;
};

VulkanGpu::~VulkanGpu() {
  vk_.vkDeviceWaitIdle(device_->handle);
  for (const auto& [key, p] : pipelines_) {
    vk_.vkDestroyPipeline(device_->handle, p.pipeline, nullptr);
    vk_.vkDestroyPipelineLayout(device_->handle, p.layout, nullptr);
    vk_.vkDestroyDescriptorSetLayout(device_->handle, p.set_layout, nullptr);
    vk_.vkDestroyShaderModule(device_->handle, p.module, nullptr);
  }
  for (const VkDescriptorPool pool : set_pools_) vk_.vkDestroyDescriptorPool(device_->handle, pool, nullptr);
  vk_.vkDestroyFence(device_->handle, fence_, nullptr);
  vk_.vkDestroyCommandPool(device_->handle, command_pool_, nullptr);
}

Status VulkanGpu::open() {
  VkCommandPoolCreateInfo pool{};
  pool.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO;
  pool.queueFamilyIndex = device_->physical->queue_family;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkCreateCommandPool(device_->handle, &pool, nullptr, &command_pool_), "opening it"));
  VkCommandBufferAllocateInfo commands{};
  commands.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO;
  commands.commandPool = command_pool_;
  commands.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  commands.commandBufferCount = 1;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkAllocateCommandBuffers(device_->handle, &commands, &commands_), "opening it"));
  VkFenceCreateInfo fence{};
  fence.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO;
  return status(vk_.vkCreateFence(device_->handle, &fence, nullptr, &fence_), "opening it");
}

Status VulkanGpu::begin() {
  if (recording_) return {};
  VkCommandBufferBeginInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  recording_ = true;
  return status(vk_.vkBeginCommandBuffer(commands_, &info), "recording");
}

Status VulkanGpu::make_pipeline(device::Kernel kernel, std::uint32_t lanes, std::uint32_t bindings,
                                Pipeline& p) {
  const ShaderCode code = shader_code(kernel, device_->physical->has_dot);
  VkShaderModuleCreateInfo module{};
  module.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  module.codeSize = code.bytes;
  module.pCode = code.words;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkCreateShaderModule(device_->handle, &module, nullptr, &p.module), "loading a kernel"));
  std::array<VkDescriptorSetLayoutBinding, kMostBindings> slots{};
  check(bindings <= kMostBindings, "a kernel's buffers have bindings");
  for (std::uint32_t i = 0; i < bindings; ++i) {
    slots[i] = {i + 1, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  }
  VkDescriptorSetLayoutCreateInfo set{};
  set.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  set.bindingCount = bindings;
  set.pBindings = slots.data();
  CLUTCH_RETURN_IF_ERROR(status(
      vk_.vkCreateDescriptorSetLayout(device_->handle, &set, nullptr, &p.set_layout), "loading a kernel"));
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo layout{};
  layout.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  layout.setLayoutCount = 1;
  layout.pSetLayouts = &p.set_layout;
  layout.pushConstantRangeCount = 1;
  layout.pPushConstantRanges = &range;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkCreatePipelineLayout(device_->handle, &layout, nullptr, &p.layout), "loading a kernel"));
  const VkSpecializationMapEntry entry{0, 0, sizeof lanes};  // kLanes
  const VkSpecializationInfo constants{1, &entry, sizeof lanes, &lanes};
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = p.module;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &constants;
  info.layout = p.layout;
  return status(vk_.vkCreateComputePipelines(device_->handle, VK_NULL_HANDLE, 1, &info, nullptr, &p.pipeline),
                "compiling a kernel");
}

Result<VkDescriptorSet> VulkanGpu::make_set(const Pipeline& pipeline,
                                            std::span<device::Buffer* const> buffers) {
  const std::size_t pool = sets_++ / kSetsPerPool;
  if (pool == set_pools_.size()) {
    const VkDescriptorPoolSize size{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, kSetsPerPool * kMostBindings};
    VkDescriptorPoolCreateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
    info.maxSets = kSetsPerPool;
    info.poolSizeCount = 1;
    info.pPoolSizes = &size;
    set_pools_.push_back(VK_NULL_HANDLE);
    CLUTCH_RETURN_IF_ERROR(status(
        vk_.vkCreateDescriptorPool(device_->handle, &info, nullptr, &set_pools_.back()), "binding buffers"));
  }
  VkDescriptorSetAllocateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
  info.descriptorPool = set_pools_[pool];
  info.descriptorSetCount = 1;
  info.pSetLayouts = &pipeline.set_layout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkAllocateDescriptorSets(device_->handle, &info, &set), "binding buffers"));
  std::array<VkDescriptorBufferInfo, kMostBindings> infos{};
  std::array<VkWriteDescriptorSet, kMostBindings> writes{};
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    infos[i] = {handle(*buffers[i]), 0, buffers[i]->bytes()};
    writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    writes[i].dstSet = set;
    writes[i].dstBinding = static_cast<std::uint32_t>(i + 1);
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &infos[i];
  }
  vk_.vkUpdateDescriptorSets(device_->handle, static_cast<std::uint32_t>(buffers.size()), writes.data(), 0,
                             nullptr);
  return set;
}

Status VulkanGpu::dispatch(device::Kernel kernel, std::uint32_t lanes,
                           std::span<device::Buffer* const> buffers, std::span<const std::byte> push,
                           std::uint32_t groups_x, std::uint32_t groups_y) {
  CLUTCH_RETURN_IF_ERROR(begin());
  Pipeline& pipeline = pipelines_[{kernel, lanes}];
  if (pipeline.pipeline == VK_NULL_HANDLE)
    CLUTCH_RETURN_IF_ERROR(
        make_pipeline(kernel, lanes, static_cast<std::uint32_t>(buffers.size()), pipeline));
  auto set = make_set(pipeline, buffers);
  if (!set.ok()) return set.status();
  vk_.vkCmdBindPipeline(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline);
  vk_.vkCmdBindDescriptorSets(commands_, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1, &set.value(),
                              0, nullptr);
  vk_.vkCmdPushConstants(commands_, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                         static_cast<std::uint32_t>(push.size()), push.data());
  vk_.vkCmdDispatch(commands_, groups_x, groups_y, 1);
  order();
  return {};
}

Status VulkanGpu::submit() {
  if (!recording_) return {};
  CLUTCH_RETURN_IF_ERROR(status(vk_.vkEndCommandBuffer(commands_), "recording"));
  VkSubmitInfo info{};
  info.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO;
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands_;
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkQueueSubmit(device_->queue, 1, &info, fence_), "while it was given work"));
  CLUTCH_RETURN_IF_ERROR(
      status(vk_.vkWaitForFences(device_->handle, 1, &fence_, VK_TRUE, UINT64_MAX), "while it computed"));
  CLUTCH_RETURN_IF_ERROR(status(vk_.vkResetFences(device_->handle, 1, &fence_), "after it computed"));
  for (const Fetch& fetch : fetches_) std::memcpy(fetch.to.data(), fetch.from, fetch.to.size());
  fetches_.clear();
  for (const VkDescriptorPool pool : set_pools_) vk_.vkResetDescriptorPool(device_->handle, pool, 0);
  sets_ = 0;
  upload_.reset();
  download_.reset();
  recording_ = false;
  ++traffic_.submissions;
  return status(vk_.vkResetCommandPool(device_->handle, command_pool_, 0), "after it computed");
}

}  // namespace

Result<std::shared_ptr<device::Gpu>> make_gpu(const std::shared_ptr<Device>& device, std::uint32_t lanes) {
  const bool pretends = device->physical->properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
  if (lanes == 0) lanes = pretends ? kLanesOfCpu : device::kMostLanes;
  check(lanes % device::kTile == 0 && lanes <= device::kMostLanes, "a workgroup divides into members");
  auto gpu = std::make_shared<VulkanGpu>(device, lanes);
  CLUTCH_RETURN_IF_ERROR(gpu->open());
  return std::shared_ptr<device::Gpu>(std::move(gpu));
}

}  // namespace clutch::vulkan
