// The emulation's part of vendor.h, included there alone, with the places of a matrix instruction's operands
// in the warp's lanes written out once more.
inline const auto& threadIdx = shim::thread_index;
inline const auto& blockIdx = shim::block_index;
inline const auto& blockDim = shim::block_size;
inline const auto& gridDim = shim::grid_size;
inline void __syncthreads() { shim::block_barrier(); }
inline unsigned char* shared_memory() { return shim::shared_memory(); }

template <class T>
T atomicAdd(T* to, T value) {
  const T before = *to;
  *to = before + value;
  return before;
}

template <class Arguments>
void launch(void (*kernel)(Arguments), unsigned blocks, unsigned threads, unsigned shared,
            const Arguments& arguments) {
  struct Call {
    void (*kernel)(Arguments);
    const Arguments* arguments;
  };
  const Call call{kernel, &arguments};
  shim::run_grid(
      {blocks, threads, CLUTCH_SHIM_WARP, shared},
      [](const void* c) {
        const auto* it = static_cast<const Call*>(c);
        it->kernel(*it->arguments);
      },
      &call);
}

constexpr auto kFamily = "shim", kTooOld = "never";
constexpr auto kSharedAttribute = shimShared;
constexpr auto kProcessorsAttribute = shimProcessors;
constexpr auto kWarpAttribute = shimWarp;
inline std::uint32_t evaluate_threads(int) { return shim::settings.evaluate_threads; }
constexpr int kWarp = CLUTCH_SHIM_WARP;
constexpr Matrix kMatrix = Matrix::CLUTCH_SHIM_MATRIX;

template <class T>
T shuffle_xor(T value, int mask) {
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  const unsigned char* all = shim::exchange(&value, sizeof value);
  T other;
  std::memcpy(&other, all + (lane ^ mask) * shim::kExchangeBytes, sizeof other);
  return other;
}

inline void meet_warp() { shim::exchange(nullptr, 0); }

// Byte `i` of what a lane gave.
inline int given(const unsigned char* all, int lane, int i) {
  return static_cast<std::int8_t>(
      all[static_cast<std::size_t>(lane) * shim::kExchangeBytes + static_cast<std::size_t>(i)]);
}

// PTX ISA, "Matrix Fragments for mma.m16n8k32", of integers.
inline void multiply_16x8x32(std::int32_t (&sums)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  const std::uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const unsigned char* all = shim::exchange(mine, sizeof mine);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 4 + i / 2 * 8, column = lane % 4 * 2 + i % 2;
    for (int k = 0; k < 32; ++k) {
      const int a_byte = row / 8 * 4 + k / 16 * 8 + k % 4, a_lane = row % 8 * 4 + k % 16 / 4;
      const int b_byte = 16 + k / 16 * 4 + k % 4, b_lane = column * 4 + k % 16 / 4;
      sums[i] += given(all, a_lane, a_byte) * given(all, b_lane, b_byte);
    }
  }
}

// AMD CDNA2 ISA, v_mfma_i32_16x16x16i8.
inline void multiply_16x16x16(std::int32_t (&sums)[4], std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mine[2] = {a, b};
  const unsigned char* all = shim::exchange(mine, sizeof mine);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  for (int i = 0; i < 4; ++i) {
    const int row = lane / 16 * 4 + i, column = lane % 16;
    for (int k = 0; k < 16; ++k) {
      sums[i] += given(all, k / 4 * 16 + row, k % 4) * given(all, k / 4 * 16 + column, 4 + k % 4);
    }
  }
}

inline std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) { return plain_dot4(a, b, sum); }

using Error = shimError_t;
#define VENDOR(name) shim##name
