// Memory on a device, by what it holds: buffers that release themselves, and the list of all of them, which
// is what somebody who ran out of it is told.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>

#include "backend/cuda/device.h"

namespace clutch::cuda {

class Buffer;

class Memory {
 public:
  explicit Memory(std::unique_ptr<Device> device) : device_(std::move(device)) {}
  Device& device() const { return *device_; }

 private:
  friend class Buffer;
  std::unique_ptr<Device> device_;
  std::map<std::string, std::uint64_t> bytes_;  // by what they hold
};

class Buffer {
 public:
  Buffer(std::shared_ptr<Memory> memory, std::string what)
      : memory_(std::move(memory)), what_(std::move(what)) {}
  ~Buffer() { release(); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  // At least so many bytes, their contents unknown where there were fewer. A failure to get them names what
  // the device's memory holds.
  Status ensure(std::uint64_t bytes);
  // As long as `values`, and those.
  template <class T>
  Status assign(const T& values) {
    const std::uint64_t bytes = values.size() * sizeof(*values.data());
    CLUTCH_RETURN_IF_ERROR(ensure(bytes));
    if (bytes == 0) return {};
    return memory_->device().upload(data_, values.data(), bytes);
  }
  template <class T>
  T* as() const {
    return static_cast<T*>(data_);
  }

 private:
  void release();

  std::shared_ptr<Memory> memory_;
  const std::string what_;
  void* data_ = nullptr;
  std::uint64_t bytes_ = 0;
};

}  // namespace clutch::cuda
