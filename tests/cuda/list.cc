// Another list of backends for the tests of tests/backend/, which are linked with this instead of
// backend/select.cc: the reference and the emulated devices. What passes there passes here on the same
// kernels that GPUs run.
#include "backend/reference/reference.h"
#include "backend/select.h"
#include "cuda/emulated.h"

namespace clutch {

std::vector<BackendEntry> list_backends() {
  std::vector<BackendEntry> entries{{"reference", "", "", BackendKind::kReference}};
  for (const cuda::Emulated& emulated : cuda::kEmulated)
    entries.push_back({emulated.name, "", "", BackendKind::kEmulated});
  return entries;
}

// `threads` has no meaning here; tests ask with 1 and 3, and get threads of a block that take turns in either
// order.
Result<std::unique_ptr<Backend>> make_backend(const std::string& name, std::int64_t threads, bool) {
  cuda::shim::settings = {};
  cuda::shim::settings.backwards = threads > 1;
  for (const cuda::Emulated& emulated : cuda::kEmulated) {
    if (name != emulated.name) continue;
    auto device = emulated.vendor().open(0);
    if (!device.ok()) return device.status();
    return make_cuda_backend(std::move(device).value());
  }
  return make_reference_backend();
}

}  // namespace clutch
