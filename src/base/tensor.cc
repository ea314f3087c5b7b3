// Element counts and digests of tensors.
#include "base/tensor.h"

#include <xxhash.h>

#include <array>
#include <memory>

#include "base/check.h"

namespace clutch {
namespace {

// Digests must not depend on the machine, so numbers enter them byte by byte, lowest first.
std::array<unsigned char, 8> little_endian(std::int64_t value) {
  std::array<unsigned char, 8> bytes;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<unsigned char>(static_cast<std::uint64_t>(value) >> (8 * i));
  }
  return bytes;
}

}  // namespace

std::optional<std::int64_t> element_count(std::span<const std::int64_t> shape) {
  std::int64_t count = 1;
  for (const std::int64_t dimension : shape) {
    if (dimension < 0 || __builtin_mul_overflow(count, dimension, &count)) return std::nullopt;
  }
  return count;
}

std::uint64_t digest_tensors(std::span<const Tensor> tensors) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  check(state != nullptr && XXH3_64bits_reset(state.get()) == XXH_OK, "a digest can be started");
  const auto add = [&state](const void* bytes, std::size_t count) {
    check(XXH3_64bits_update(state.get(), bytes, count) == XXH_OK, "a digest takes more bytes");
  };
  for (const Tensor& tensor : tensors) {
    add(tensor.name.c_str(), tensor.name.size() + 1);  // with its terminating 0
    for (const std::int64_t dimension : tensor.shape) add(little_endian(dimension).data(), 8);
    if (!tensor.data.empty()) add(tensor.data.data(), tensor.data.size());
  }
  return XXH3_64bits_digest(state.get());
}

}  // namespace clutch
