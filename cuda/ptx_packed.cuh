// The inline PTX of the packed kernels for Hopper, beside ptx.cuh and ptx_wgmma.cuh: loads from shared memory, and
// arithmetic on pairs.
//
// Names and semantics: PTX ISA 9.0. The comment of each function names the section.
#pragma once
#include <ptx_wgmma.cuh>

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ uint4 load_shared_16(uint32_t from) {
  uint4 v;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "r"(from)
               : "memory");
  return v;
}
__device__ __forceinline__ uint2 load_shared_8(uint32_t from) {
  uint2 v;
  asm volatile("ld.shared.v2.u32 {%0, %1}, [%2];" : "=r"(v.x), "=r"(v.y) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ uint32_t load_shared_4(uint32_t from) {
  uint32_t v;
  asm volatile("ld.shared.u32 %0, [%1];" : "=r"(v) : "r"(from) : "memory");
  return v;
}
__device__ __forceinline__ uint32_t load_shared_2(uint32_t from) {
  uint16_t v;
  asm volatile("ld.shared.u16 %0, [%1];" : "=h"(v) : "r"(from) : "memory");
  return v;
}

// "mul" of pairs of 16-bit elements. Subnormal numbers are kept.
template <class T>
__device__ __forceinline__ uint32_t multiply_pairs(uint32_t x, uint32_t y) {
  uint32_t z;
  if constexpr (std::is_same_v<T, __half>) {
    asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  } else {
    asm("mul.rn.bf16x2 %0, %1, %2;" : "=r"(z) : "r"(x), "r"(y));
  }
  return z;
}
// "mov": a pair of the low or the high half of x. A multiplication by it takes no more instructions than one by x, which is not
// so with __byte_perm.
__device__ __forceinline__ uint32_t repeat_half(uint32_t x, bool high) {
  uint32_t pair;
  if (high) {
    asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\nmov.b32 %0, {high, high};\n}" : "=r"(pair) : "r"(x));
  } else {
    asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %1;\nmov.b32 %0, {low, low};\n}" : "=r"(pair) : "r"(x));
  }
  return pair;
}

// "min", "max" of pairs: the number from -limit to limit that is nearest to x. A NaN gives a limit.
template <class T>
__device__ __forceinline__ uint32_t clamp_pairs(uint32_t x, uint32_t limit) {
  uint32_t z;
  if constexpr (std::is_same_v<T, __half>) {
    asm("{\n.reg .b32 low, below;\nneg.f16x2 low, %2;\nmin.f16x2 below, %1, %2;\nmax.f16x2 %0, below, low;\n}"
        : "=r"(z)
        : "r"(x), "r"(limit));
  } else {
    asm("{\n.reg .b32 low, below;\nneg.bf16x2 low, %2;\nmin.bf16x2 below, %1, %2;\nmax.bf16x2 %0, below, low;\n}"
        : "=r"(z)
        : "r"(x), "r"(limit));
  }
  return z;
}
// "fma" of pairs: x y + z, rounded once.
template <class T>
__device__ __forceinline__ uint32_t multiply_add_pairs(uint32_t x, uint32_t y, uint32_t z) {
  uint32_t sum;
  if constexpr (std::is_same_v<T, __half>) {
    asm("fma.rn.f16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(x), "r"(y), "r"(z));
  } else {
    asm("fma.rn.bf16x2 %0, %1, %2, %3;" : "=r"(sum) : "r"(x), "r"(y), "r"(z));
  }
  return sum;
}

// "cvt": widens a pair of f16 to f32.
__device__ __forceinline__ float2 widen_f16_pair(uint32_t pair) {
  float2 v;
  asm("{\n.reg .b16 low, high;\nmov.b32 {low, high}, %2;\ncvt.f32.f16 %0, low;\ncvt.f32.f16 %1, high;\n}"
      : "=f"(v.x), "=f"(v.y)
      : "r"(pair));
  return v;
}

// "cvt" of e4m3x2: the two numbers as f16, exactly. The first is in the low byte.
__device__ __forceinline__ uint32_t widen_e4m3_pair(uint16_t pair) {
  uint32_t v;
  asm("cvt.rn.f16x2.e4m3x2 %0, %1;" : "=r"(v) : "h"(pair));
  return v;
}

#endif

}  // namespace yamoe
