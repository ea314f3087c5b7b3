// As much of the Metal shading language as the generated kernels use, for clang's OpenCL: a check of syntax, types and
// address spaces. check_msl.py rewrites what no header can.
#pragma OPENCL EXTENSION __cl_clang_non_portable_kernel_param_types : enable

#define device __global
#define thread __private
#define threadgroup __local
#define constant __constant
#define kernel __kernel

typedef unsigned int uint;
typedef unsigned long ulong;
#define CLUTCH_MSL_VECTOR(type, n) typedef type type##n __attribute__((ext_vector_type(n)));
CLUTCH_MSL_VECTOR(uint, 2)
CLUTCH_MSL_VECTOR(uint, 3)
CLUTCH_MSL_VECTOR(int, 3)
CLUTCH_MSL_VECTOR(uint, 4)
CLUTCH_MSL_VECTOR(int, 4)

#define atomic_uint atomic_uint_of_metal  // OpenCL has one of its own

namespace metal {
#define CLUTCH_MSL_ORDERED(type) \
  type max(type a, type b);      \
  type min(type a, type b);      \
  type clamp(type x, type low, type high);
CLUTCH_MSL_ORDERED(int)
CLUTCH_MSL_ORDERED(uint)
CLUTCH_MSL_ORDERED(int4)
int abs(int a);
int4 abs(int4 a);
template <class T>
T select(T no, T yes, bool which);
uint clz(uint x);
uint mulhi(uint a, uint b);
int extract_bits(int x, uint offset, uint bits);
enum class mem_flags { mem_device, mem_threadgroup };
void threadgroup_barrier(mem_flags);
struct atomic_uint {
  uint value;
};
enum memory_order { memory_order_relaxed };
uint atomic_fetch_add_explicit(__global atomic_uint* to, uint by, memory_order);
uint atomic_fetch_add_explicit(__local atomic_uint* to, uint by, memory_order);
template <class To, class From>
To converted(From from);
}  // namespace metal
