// A vendor's runtime as a Device (device.h), and the kernels it launches: the one file of this folder that a
// vendor's compiler compiles. The build defines CLUTCH_VENDOR, the namespace, and CLUTCH_ARCHITECTURES, their
// names.
#include <iterator>
#include <string>

#include "backend/cuda/device.h"
#include "backend/cuda/evaluate.h"
#include "backend/cuda/update.h"

namespace clutch::cuda::CLUTCH_VENDOR {
namespace {

constexpr auto kResume =
    "the run is whole up to its last completed step: go on with --resume, on any backend";

using EvaluateKernel = void (*)(EvaluateArguments);

template <std::size_t kCount = 0>
EvaluateKernel kernel_of(const TileShape& tile) {
  if constexpr (kCount < std::size(kRowTileCounts)) {
    if constexpr (kRowTileCounts[kCount] <= kMostRowTiles) {
      if (tile.members == kRowTileCounts[kCount] * kRowTile) return &evaluate_window<kRowTileCounts[kCount]>;
      return kernel_of<kCount + 1>(tile);
    }
  }
  return nullptr;
}

const void* address(EvaluateKernel kernel) { return reinterpret_cast<const void*>(kernel); }

class RuntimeDevice : public Device {
 public:
  RuntimeDevice(int index, Facts facts) : index_(index), facts_(std::move(facts)) {}
  const Facts& facts() const override { return facts_; }

  Result<void*> allocate(std::uint64_t bytes) override {
    void* memory = nullptr;
    CLUTCH_RETURN_IF_ERROR(use());
    const Error error = VENDOR(Malloc)(&memory, bytes);
    if (error == VENDOR(ErrorMemoryAllocation)) {
      static_cast<void>(VENDOR(GetLastError)());  // it is no reason to refuse the device from now on
      return static_cast<void*>(nullptr);
    }
    CLUTCH_RETURN_IF_ERROR(passed(error));
    return memory;
  }
  void release(void* memory) override {
    if (use().ok()) static_cast<void>(VENDOR(Free)(memory));
  }
  std::uint64_t free_bytes() override {
    std::size_t free = 0, total = 0;
    if (!use().ok() || VENDOR(MemGetInfo)(&free, &total) != VENDOR(Success)) return 0;
    return free;
  }

  Status upload(void* device, const void* host, std::uint64_t bytes) override {
    CLUTCH_RETURN_IF_ERROR(use());
    return passed(VENDOR(Memcpy)(device, host, bytes, VENDOR(MemcpyHostToDevice)));
  }
  Status download(void* host, const void* device, std::uint64_t bytes) override {
    CLUTCH_RETURN_IF_ERROR(use());
    return passed(VENDOR(Memcpy)(host, device, bytes, VENDOR(MemcpyDeviceToHost)));
  }
  Status clear(void* device, std::uint64_t bytes) override {
    CLUTCH_RETURN_IF_ERROR(use());
    ++launches_;
    return passed(VENDOR(Memset)(device, 0, bytes));
  }

  Result<std::uint32_t> resident_blocks(const TileShape& tile) override {
    CLUTCH_RETURN_IF_ERROR(use());
    const void* kernel = address(kernel_of(tile));
    CLUTCH_RETURN_IF_ERROR(passed(VENDOR(FuncSetAttribute)(
        kernel, VENDOR(FuncAttributeMaxDynamicSharedMemorySize), static_cast<int>(tile.bytes))));
    int blocks = 0;
    CLUTCH_RETURN_IF_ERROR(passed(VENDOR(OccupancyMaxActiveBlocksPerMultiprocessor)(
        &blocks, kernel, static_cast<int>(facts_.evaluate_threads), tile.bytes)));
    if (blocks < 1)
      return fail(facts_.name, "no block of " + std::to_string(tile.bytes) + " bytes of shared memory runs",
                  "use a smaller model or another backend");
    return static_cast<std::uint32_t>(blocks) * facts_.processors;
  }

  Status evaluate(const EvaluateArguments& arguments, std::uint32_t blocks) override {
    return start(kernel_of(arguments.tile), blocks, facts_.evaluate_threads, arguments.tile.bytes, arguments);
  }

  Status update(const UpdateArguments& a) override {
    if (a.matrix_count > 0)
      CLUTCH_RETURN_IF_ERROR(
          start(&vote_matrices, a.matrix_count * a.matrix_splits, kUpdateThreads, kVoteShared, a));
    if (a.vector_count > 0)
      CLUTCH_RETURN_IF_ERROR(start(&vote_vectors, a.vector_count * a.vector_splits, kUpdateThreads, 0, a));
    return start(&apply_rule, a.word_count, kUpdateThreads, 0, a);
  }

  std::uint64_t launches() const override { return launches_; }

 private:
  // Several devices of a process are used from threads of their own; each call says which it means.
  Status use() { return passed(VENDOR(SetDevice)(index_)); }

  template <class Arguments>
  Status start(void (*kernel)(Arguments), std::uint32_t blocks, std::uint32_t threads, std::uint32_t shared,
               const Arguments& arguments) {
    CLUTCH_RETURN_IF_ERROR(use());
    launch(kernel, blocks, threads, shared, arguments);
    ++launches_;
    return passed(VENDOR(GetLastError)());
  }

  Status passed(Error error) const {
    if (error == VENDOR(Success)) return {};
    return fail(facts_.name, facts_.chip + " failed: " + VENDOR(GetErrorString)(error), kResume);
  }

  const int index_;
  const Facts facts_;
  std::uint64_t launches_ = 0;
};

Status refuse(const std::string& name, const std::string& problem) {
  return fail(name, problem, "use another backend: clutch info lists those that run here");
}

int count_devices(std::string& problem) {
  int count = 0, driver = 0, runtime = 0;
  const Error error = VENDOR(GetDeviceCount)(&count);
  if (error == VENDOR(Success) && count > 0) return count;
  static_cast<void>(VENDOR(GetLastError)());
  // The runtime calls a driver that is absent one that is too old.
  if (VENDOR(DriverGetVersion)(&driver) != VENDOR(Success) || driver <= 0) {
    problem = std::string("there is no driver: install that of ") + kMaker;
  } else if (error == VENDOR(ErrorInsufficientDriver) &&
             VENDOR(RuntimeGetVersion)(&runtime) == VENDOR(Success)) {
    problem = "its driver, for " + version_text(driver) + ", is too old: update it to one for " +
              version_text(runtime);
  } else if (error == VENDOR(Success) || error == VENDOR(ErrorNoDevice)) {
    problem = std::string("there is no device of ") + kMaker;
  } else {
    problem = VENDOR(GetErrorString)(error);
  }
  return 0;
}

Result<std::unique_ptr<Device>> open_device(int index) {
  Facts facts;
  facts.name = std::string(kFamily) + ":" + std::to_string(index);
  Properties properties;
  int shared = 0, processors = 0, warp = 0;
  for (const Error error : {VENDOR(SetDevice)(index), VENDOR(GetDeviceProperties)(&properties, index),
                            VENDOR(DeviceGetAttribute)(&shared, kSharedAttribute, index),
                            VENDOR(DeviceGetAttribute)(&processors, kProcessorsAttribute, index),
                            VENDOR(DeviceGetAttribute)(&warp, kWarpAttribute, index)}) {
    if (error != VENDOR(Success)) return refuse(facts.name, VENDOR(GetErrorString)(error));
  }
  facts.chip = properties.name;
  facts.shared_bytes = static_cast<std::uint32_t>(shared);
  facts.processors = static_cast<std::uint32_t>(processors);
  facts.warp = static_cast<std::uint32_t>(warp);
  facts.row_tiles = kMostRowTiles;
  facts.evaluate_threads = evaluate_threads(kEvaluateThreads);
  const std::string model = facts.chip + " (" + model_of(properties) + ")";
  if (too_old(properties)) return refuse(facts.name, model + " is too old: " + kNeeds);
  VENDOR(FuncAttributes) attributes;
  const Error kernels = VENDOR(FuncGetAttributes)(&attributes, address(&evaluate_window<1>));
  if (kernels != VENDOR(Success)) {
    static_cast<void>(VENDOR(GetLastError)());
    return refuse(facts.name, model + " runs none of the kernels, which are for " + CLUTCH_ARCHITECTURES +
                                  ": " + VENDOR(GetErrorString)(kernels) + "; " + kNeeds +
                                  ", or a newer driver");
  }
  return std::unique_ptr<Device>(std::make_unique<RuntimeDevice>(index, facts));
}

}  // namespace

const Vendor& vendor() {
  static const Vendor it{kFamily, "", CLUTCH_ARCHITECTURES, kSummary, &count_devices, &open_device};
  return it;
}

}  // namespace clutch::cuda::CLUTCH_VENDOR
