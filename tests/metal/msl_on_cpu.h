// As much of the Metal shading language as the generated kernels use, in C++, so that they run on a CPU:
// threads of a threadgroup are fibers that take turns at barriers (fibers.h). Address spaces vanish;
// make_runner.py turns what a kernel keeps in threadgroup memory into statics.
#pragma once

#include <cstdint>

#define device
#define thread
#define threadgroup
#define constant const
#define kernel static
#define volatile  // fibers take turns on one thread

using uint = std::uint32_t;
using ulong = std::uint64_t;

void threadgroup_barrier_of_fibers();

namespace metal {

template <class T>
struct Two {
  T x, y;
  Two(T a, T b) : x(a), y(b) {}
  Two& operator+=(const Two& o) { return x += o.x, y += o.y, *this; }
};
using uint2 = Two<uint>;

template <class T>
struct Three {
  T x, y, z;
  Three(T a, T b, T c) : x(a), y(b), z(c) {}
};
using uint3 = Three<uint>;
using int3 = Three<int>;

template <class T>
struct alignas(16) Four {
  T x, y, z, w;
  Four() = default;
  explicit Four(T a) : x(a), y(a), z(a), w(a) {}
  template <class U>
  explicit Four(const Four<U>& o)
      : x(static_cast<T>(o.x)), y(static_cast<T>(o.y)), z(static_cast<T>(o.z)), w(static_cast<T>(o.w)) {}
  Four(T a, T b, T c, T d) : x(a), y(b), z(c), w(d) {}
  T& operator[](uint i) { return (&x)[i]; }
  const T& operator[](uint i) const { return (&x)[i]; }
};
using uint4 = Four<uint>;
using int4 = Four<int>;

// Element by element, with a scalar on either side. Arithmetic wraps as on a GPU: built with -fwrapv.
#define CLUTCH_MSL_OPERATOR(op)                                          \
  template <class T>                                                     \
  Four<T> operator op(const Four<T>& a, const Four<T>& b) {              \
    return {a.x op b.x, a.y op b.y, a.z op b.z, a.w op b.w};             \
  }                                                                      \
  inline int4 operator op(const int4& a, int b) { return a op int4(b); } \
  inline int4 operator op(int a, const int4& b) { return int4(a) op b; }
CLUTCH_MSL_OPERATOR(+)
CLUTCH_MSL_OPERATOR(-)
CLUTCH_MSL_OPERATOR(*)
CLUTCH_MSL_OPERATOR(>>)
#undef CLUTCH_MSL_OPERATOR
inline int4& operator+=(int4& a, const int4& b) { return a = a + b; }
inline int4 operator>>(const int4& a, uint b) { return a >> int4(static_cast<int>(b)); }

template <class T>
T max(T a, T b) {
  return a > b ? a : b;
}
template <class T>
T min(T a, T b) {
  return a < b ? a : b;
}
template <class T>
T clamp(T x, T low, T high) {
  return min(max(x, low), high);
}
inline int4 max(const int4& a, const int4& b) {
  return {max(a.x, b.x), max(a.y, b.y), max(a.z, b.z), max(a.w, b.w)};
}
inline int4 min(const int4& a, const int4& b) {
  return {min(a.x, b.x), min(a.y, b.y), min(a.z, b.z), min(a.w, b.w)};
}
inline int4 clamp(const int4& x, const int4& low, const int4& high) { return min(max(x, low), high); }
inline int abs(int a) { return a < 0 ? -a : a; }
inline int4 abs(const int4& a) { return {abs(a.x), abs(a.y), abs(a.z), abs(a.w)}; }
template <class T>
T select(T no, T yes, bool which) {
  return which ? yes : no;
}
inline uint clz(uint x) { return x == 0 ? 32 : static_cast<uint>(__builtin_clz(x)); }
inline uint mulhi(uint a, uint b) { return static_cast<uint>(ulong{a} * b >> 32); }
inline int extract_bits(int x, uint offset, uint bits) {
  return static_cast<int>(static_cast<uint>(x) << (32 - bits - offset)) >> (32 - bits);
}

enum class mem_flags { mem_device, mem_threadgroup };
inline void threadgroup_barrier(mem_flags) { threadgroup_barrier_of_fibers(); }

struct atomic_uint {
  uint value;
};
constexpr int memory_order_relaxed = 0;
inline uint atomic_fetch_add_explicit(atomic_uint* to, uint by, int) {
  const uint before = to->value;
  to->value += by;
  return before;
}

}  // namespace metal
