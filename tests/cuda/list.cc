// Another list of backends for the tests of tests/backend/, which are linked with this instead of
// backend/select.cc: the reference and the emulated devices. What passes there passes here on the same
// kernels that GPUs run.
#include "backend/reference/reference.h"
#include "backend/select.h"
#include "cuda/emulated.h"

namespace clutch {
namespace {

// Threads of a block take turns in one order whenever this device computes, whatever others do in between.
class Ordered : public cuda::Before {
 public:
  Ordered(std::unique_ptr<cuda::Device> device, bool backwards)
      : Before(std::move(device)), backwards_(backwards) {}
  Status evaluate(const cuda::EvaluateArguments& arguments, std::uint32_t blocks) override {
    cuda::shim::settings.backwards = backwards_;
    return Before::evaluate(arguments, blocks);
  }
  Status update(const cuda::UpdateArguments& arguments) override {
    cuda::shim::settings.backwards = backwards_;
    return Before::update(arguments);
  }

 private:
  const bool backwards_;
};

}  // namespace

std::vector<BackendEntry> list_backends() {
  std::vector<BackendEntry> entries{{"reference", "", "", BackendKind::kReference}};
  for (const cuda::Emulated& emulated : cuda::kEmulated)
    entries.push_back({emulated.name, "", "", BackendKind::kEmulated});
  return entries;
}

// `threads` has no meaning here; tests ask with 1 and 3, and get threads of a block that take turns in either
// order.
Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads, bool) {
  for (const cuda::Emulated& emulated : cuda::kEmulated) {
    if (name != emulated.name) continue;
    auto device = emulated.vendor().open(0);
    if (!device.ok()) return device.status();
    return make_cuda_backend(std::make_unique<Ordered>(std::move(device).value(), threads > 1));
  }
  return make_reference_backend();
}

}  // namespace clutch
