// The inline PTX of the packed kernels for Hopper, beside ptx.cuh: wgmma with its first operand in registers, bulk copies
// of weights, and arithmetic on pairs.
//
// Names and semantics: PTX ISA 9.0. The comment of each function names the section.
#pragma once
#include <ptx.cuh>

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

// bulk_copy of bytes that are used once: "createpolicy", L2 evicts them first.
__device__ __forceinline__ void bulk_copy_once(uint32_t to, const void* from, uint32_t bytes, uint32_t barrier) {
  asm volatile(
      "{\n"
      ".reg .b64 once;\n"
      "createpolicy.fractional.L2::evict_first.b64 once, 1.0;\n"
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint [%0], [%1], %2, [%3], once;\n"
      "}" ::"r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
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

#define YAMOE_TILE(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define YAMOE_SUMS_2 YAMOE_TILE(0), YAMOE_TILE(1)
#define YAMOE_SUMS_4 YAMOE_SUMS_2, YAMOE_TILE(2), YAMOE_TILE(3)
#define YAMOE_SUMS_6 YAMOE_SUMS_4, YAMOE_TILE(4), YAMOE_TILE(5)
#define YAMOE_SUMS_8 YAMOE_SUMS_6, YAMOE_TILE(6), YAMOE_TILE(7)
#define YAMOE_SUMS_12 YAMOE_SUMS_8, YAMOE_TILE(8), YAMOE_TILE(9), YAMOE_TILE(10), YAMOE_TILE(11)
#define YAMOE_SUMS_16 YAMOE_SUMS_12, YAMOE_TILE(12), YAMOE_TILE(13), YAMOE_TILE(14), YAMOE_TILE(15)
#define YAMOE_SUMS_18 YAMOE_SUMS_16, YAMOE_TILE(16), YAMOE_TILE(17)
#define YAMOE_SUMS_20 YAMOE_SUMS_18, YAMOE_TILE(18), YAMOE_TILE(19)
#define YAMOE_SUMS_24 YAMOE_SUMS_20, YAMOE_TILE(20), YAMOE_TILE(21), YAMOE_TILE(22), YAMOE_TILE(23)
#define YAMOE_NAMES_2 "%0, %1, %2, %3, %4, %5, %6, %7"
#define YAMOE_NAMES_4 YAMOE_NAMES_2 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define YAMOE_NAMES_6 YAMOE_NAMES_4 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define YAMOE_NAMES_8 YAMOE_NAMES_6 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define YAMOE_NAMES_12 \
  YAMOE_NAMES_8 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define YAMOE_NAMES_16 \
  YAMOE_NAMES_12 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define YAMOE_NAMES_18 YAMOE_NAMES_16 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define YAMOE_NAMES_20 YAMOE_NAMES_18 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define YAMOE_NAMES_24 \
  YAMOE_NAMES_20 ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95"

// "wgmma.mma_async": c += a b with f32 sums, over a depth of 16. `a` is 64 x 16 in registers: each warp has 16 rows, in the
// layout of mma.m16n8k16. `b` has 8 kTiles columns in shared memory, whose rows in memory run along the depth.
template <class T, int kTiles>
__device__ __forceinline__ void wgmma_registers(float (&c)[kTiles][4], const uint32_t* a, uint64_t b) {
#define YAMOE_WGMMA(type, tiles, columns, a0, a1, a2, a3, last)                                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type " {" YAMOE_NAMES_##tiles \
               "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #last ", 1, 1, 1, 0;"                         \
               : YAMOE_SUMS_##tiles                                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
#define YAMOE_CASE(...)                                                                       \
  if constexpr (std::is_same_v<T, __half>) {                                                  \
    YAMOE_WGMMA("f16", __VA_ARGS__);                                                          \
  } else {                                                                                    \
    YAMOE_WGMMA("bf16", __VA_ARGS__);                                                         \
  }
  if constexpr (kTiles == 4) {
    YAMOE_CASE(4, 32, 16, 17, 18, 19, 20)
  } else if constexpr (kTiles == 6) {
    YAMOE_CASE(6, 48, 24, 25, 26, 27, 28)
  } else if constexpr (kTiles == 8) {
    YAMOE_CASE(8, 64, 32, 33, 34, 35, 36)
  } else if constexpr (kTiles == 12) {
    YAMOE_CASE(12, 96, 48, 49, 50, 51, 52)
  } else if constexpr (kTiles == 16) {
    YAMOE_CASE(16, 128, 64, 65, 66, 67, 68)
  } else if constexpr (kTiles == 18) {
    YAMOE_CASE(18, 144, 72, 73, 74, 75, 76)
  } else if constexpr (kTiles == 20) {
    YAMOE_CASE(20, 160, 80, 81, 82, 83, 84)
  } else {
    static_assert(kTiles == 24, "wgmma is not instantiated for this number of columns");
    YAMOE_CASE(24, 192, 96, 97, 98, 99, 100)
  }
}

// "wgmma.wait_group": waits until at most kPending of the warpgroup's groups are pending.
template <int kPending>
__device__ __forceinline__ void wgmma_wait_groups() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler does not read the sums before this.
template <int kTiles>
__device__ __forceinline__ void sums_are_complete(float (&c)[kTiles][4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) asm volatile("" : YAMOE_TILE(j)::"memory");
}

#undef YAMOE_TILE
#undef YAMOE_WGMMA
#undef YAMOE_CASE

#endif

}  // namespace yamoe
