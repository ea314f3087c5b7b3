// Memory that starts on a cache line, zeroed, for kernels that load whole vectors. Large blocks ask for huge pages:
// weights of some megabytes would otherwise miss the translation cache on every panel.
#pragma once

#include <cstddef>
#include <new>
#include <vector>

namespace clutch {

constexpr std::size_t kCacheLineBytes = 64;

void* allocate_aligned(std::size_t bytes);
void free_aligned(void* pointer, std::size_t bytes);

template <class T>
struct AlignedAllocator {
  using value_type = T;
  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}  // NOLINT(google-explicit-constructor)
  T* allocate(std::size_t count) { return static_cast<T*>(allocate_aligned(count * sizeof(T))); }
  void deallocate(T* pointer, std::size_t count) { free_aligned(pointer, count * sizeof(T)); }
  bool operator==(const AlignedAllocator&) const = default;
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace clutch
