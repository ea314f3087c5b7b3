#include "backend/cuda/memory.h"

#include <fmt/format.h>

namespace clutch::cuda {
namespace {

std::string mebibytes(std::uint64_t bytes) { return fmt::format("{} MiB", (bytes + (1 << 20) - 1) >> 20); }

}  // namespace

Status Buffer::ensure(std::uint64_t bytes) {
  if (data_ != nullptr && bytes <= bytes_) return {};
  release();
  const std::uint64_t wanted = bytes == 0 ? 1 : bytes;
  auto memory = memory_->device().allocate(wanted);
  if (!memory.ok()) return memory.status();
  if (memory.value() == nullptr) {
    std::string plan;
    for (const auto& [what, held] : memory_->bytes_) {
      if (held > 0) plan += fmt::format("{} {}, ", what, mebibytes(held));
    }
    return fail(memory_->device().facts().name,
                fmt::format("no memory for {} of {}: {}{} free", mebibytes(wanted), what_, plan,
                            mebibytes(memory_->device().free_bytes())),
                "use a smaller --population or --rank, --carry reset, more devices or --backend cpu");
  }
  data_ = memory.value();
  bytes_ = wanted;
  memory_->bytes_[what_] += bytes_;
  return {};
}

void Buffer::release() {
  if (data_ == nullptr) return;
  memory_->device().release(data_);
  memory_->bytes_[what_] -= bytes_;
  data_ = nullptr;
}

}  // namespace clutch::cuda
