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

using Error = shimError_t;
using Properties = shimDeviceProp;
#define VENDOR(name) shim##name
constexpr auto kFamily = "shim", kMaker = "the emulation", kSummary = "none",
               kNeeds = "capability 8.0 or later is needed";
inline bool too_old(const Properties& p) { return p.major < 8; }
inline std::string model_of(const Properties& p) {
  return "capability " + std::to_string(p.major) + "." + std::to_string(p.minor);
}
inline std::string version_text(int version) { return "shim " + std::to_string(version); }
constexpr auto kSharedAttribute = shimShared;
constexpr auto kProcessorsAttribute = shimProcessors;
constexpr std::uint32_t kMostRowTiles = 8;
constexpr int kEvaluateThreads = 512;
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

// Word `i` of what a lane gave.
inline std::uint32_t given(const unsigned char* all, int lane, int i) {
  std::uint32_t word;
  std::memcpy(&word,
              all + static_cast<std::size_t>(lane) * shim::kExchangeBytes + 4 * static_cast<std::size_t>(i),
              4);
  return word;
}
// Σ a·b of two rows of `words` words.
inline std::int32_t row_product(const std::uint32_t* a, const std::uint32_t* b, int words) {
  std::int8_t left[32], right[32];
  std::memcpy(left, a, 4 * static_cast<std::size_t>(words));
  std::memcpy(right, b, 4 * static_cast<std::size_t>(words));
  std::int32_t sum = 0;
  for (int i = 0; i < 4 * words; ++i) sum += left[i] * right[i];
  return sum;
}

// PTX ISA, "Matrix Fragments for mma.m16n8k32", of integers: words 0 to 3 of a lane are a, 4 and 5 are b.
inline void multiply_16x8x32(std::int32_t (&sums)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]) {
  const std::uint32_t mine[6] = {a[0], a[1], a[2], a[3], b[0], b[1]};
  const unsigned char* all = shim::exchange(mine, sizeof mine);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::uint32_t rows[2][8], columns[2][8];  // of the sums of this lane, along K
  for (int i = 0; i < 2; ++i) {
    for (int k = 0; k < 8; ++k) {
      rows[i][k] = given(all, lane / 4 * 4 + k % 4, i + k / 4 * 2);
      columns[i][k] = given(all, (lane % 4 * 2 + i) * 4 + k % 4, 4 + k / 4);
    }
  }
  for (int i = 0; i < 4; ++i) sums[i] += row_product(rows[i / 2], columns[i % 2], 8);
}

// AMD CDNA2 ISA, v_mfma_i32_16x16x16i8: word 0 of a lane is a, word 1 is b.
inline void multiply_16x16x16(std::int32_t (&sums)[4], std::uint32_t a, std::uint32_t b) {
  const std::uint32_t mine[2] = {a, b};
  const unsigned char* all = shim::exchange(mine, sizeof mine);
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  std::uint32_t row[4], column[4];
  for (int k = 0; k < 4; ++k) column[k] = given(all, 16 * k + lane % 16, 1);
  for (int i = 0; i < 4; ++i) {
    for (int k = 0; k < 4; ++k) row[k] = given(all, 16 * k + lane / 16 * 4 + i, 0);
    sums[i] += row_product(row, column, 4);
  }
}

inline std::int32_t dot4(std::uint32_t a, std::uint32_t b, std::int32_t sum) { return plain_dot4(a, b, sum); }
