#include "base/aligned.h"

#include <sys/mman.h>

namespace clutch {
namespace {

constexpr std::size_t kHugePageBytes = std::size_t{2} << 20;
constexpr std::size_t kLargeBytes = std::size_t{1} << 20;  // from here on a huge page is worth its rest

std::size_t alignment(std::size_t bytes) { return bytes >= kLargeBytes ? kHugePageBytes : kCacheLineBytes; }
std::size_t rounded(std::size_t bytes) {
  return bytes >= kLargeBytes ? (bytes + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes : bytes;
}

}  // namespace

void* allocate_aligned(std::size_t bytes) {
  void* pointer = ::operator new(rounded(bytes), std::align_val_t{alignment(bytes)});
#ifdef MADV_HUGEPAGE
  // Advice only: without it everything works, slower.
  if (bytes >= kLargeBytes) madvise(pointer, rounded(bytes), MADV_HUGEPAGE);
#endif
  return pointer;
}

void free_aligned(void* pointer, std::size_t bytes) {
  ::operator delete(pointer, std::align_val_t{alignment(bytes)});
}

}  // namespace clutch
