#include "backend/cpu/isa_list.h"

#include <fmt/format.h>

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace clutch::cpu {
namespace {

const char* nothing() { return ""; }

#if defined(__x86_64__)

// GCC's run-time check includes the operating system's support for the registers.
const char* missing_avx2() {
  if (!__builtin_cpu_supports("avx2")) return "AVX2";
  return __builtin_cpu_supports("popcnt") ? "" : "POPCNT";
}

const char* missing_avxvnni() {
  // __builtin_cpu_supports of GCC 12 has no name for it: leaf 7, subleaf 1, EAX bit 4. The registers are
  // AVX2's.
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || (a >> 4 & 1) == 0) return "AVX-VNNI";
  return missing_avx2();
}

const char* missing_avx512bw() {
  if (!__builtin_cpu_supports("avx512f")) return "AVX-512F";
  if (!__builtin_cpu_supports("avx512bw")) return "AVX-512BW";
  if (!__builtin_cpu_supports("avx512dq")) return "AVX-512DQ";
  if (!__builtin_cpu_supports("avx512vl")) return "AVX-512VL";
  return __builtin_cpu_supports("popcnt") ? "" : "POPCNT";
}

const char* missing_avx512vnni() {
  return __builtin_cpu_supports("avx512vnni") ? missing_avx512bw() : "AVX-512-VNNI";
}

// Tiles are for a process that has asked the kernel for them; asking again is fine.
const char* missing_amxint8() {
#if defined(__linux__)
  constexpr unsigned kTile = 1U << 24, kInt8 = 1U << 25;  // leaf 7, EDX
  constexpr long kRequestPermission = 0x1023, kTileData = 18;  // arch_prctl(2) of Linux 5.16: ARCH_REQ_XCOMP_PERM
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTile) == 0 || (d & kInt8) == 0) return "AMX-INT8";
  if (syscall(SYS_arch_prctl, kRequestPermission, kTileData) != 0) return "the kernel's permission for AMX tiles";
  return missing_avx512vnni();
#else
  return "Linux, for AMX tiles";
#endif
}

#elif defined(__aarch64__)

const char* missing_neondot() { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0 ? "" : "dot products"; }
const char* missing_neoni8mm() {
  return (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0 ? missing_neondot() : "products of matrices of bytes";
}

#endif

constexpr Isa kList[] = {
    {"scalar", "portable C++, threads", nothing, scalar_kernels},
#if defined(__x86_64__)
    {"avx2", "32-byte vectors, products of 16-bit pairs", missing_avx2, avx2_kernels},
    {"avx512bw", "64-byte vectors, products of 16-bit pairs", missing_avx512bw, avx512bw_kernels},
    {"avxvnni", "32-byte vectors, four products of bytes in one instruction", missing_avxvnni,
     avxvnni_kernels},
    {"avx512vnni", "64-byte vectors, four products of bytes in one instruction", missing_avx512vnni,
     avx512vnni_kernels},
    {"amxint8", "64-byte vectors, products of 16-by-64 tiles of bytes", missing_amxint8, amxint8_kernels},
#elif defined(__aarch64__)
    {"neon", "16-byte vectors, products of bytes to 16 bits", nothing, neon_kernels},
    {"neondot", "16-byte vectors, four products of bytes in one instruction", missing_neondot,
     neondot_kernels},
    {"neoni8mm", "16-byte vectors, products of 2-by-8 matrices of bytes", missing_neoni8mm, neoni8mm_kernels},
#endif
};

}  // namespace

std::span<const Isa> instruction_sets() { return kList; }

Result<const Kernels*> find_kernels(const std::string& isa) {
  std::string present;
  const Kernels* fastest = nullptr;
  for (const Isa& entry : kList) {
    const bool runs = *entry.missing() == 0;
    if (runs) present += (present.empty() ? "cpu:" : ", cpu:") + std::string(entry.name);
    if (runs && (isa.empty() || isa == entry.name)) fastest = &entry.kernels();
  }
  if (fastest == nullptr)
    return fail("--backend", fmt::format("'cpu:{}' is not here", isa), "this machine has: " + present);
  return fastest;
}

}  // namespace clutch::cpu
