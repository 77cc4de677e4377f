// The inline PTX of Hopper's wgmma: products of a warpgroup's 64 rows, whose second operand is in shared memory.
//
// Names and semantics: PTX ISA 9.0. The comment of each function names the section.
#pragma once
#include <ptx.cuh>

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// "Matrix descriptor" of wgmma: an operand in shared memory with consecutive rows of 128 bytes, whose 16-byte chunks are
// swizzled. Its rows run along the depth, or across it with a row for each depth.
__device__ __forceinline__ uint64_t wgmma_descriptor(uint32_t address) {
  return static_cast<uint64_t>(address >> 4 & 0x3fff) | static_cast<uint64_t>(8 * 128 >> 4) << 32 | 1ull << 62;
}

__device__ __forceinline__ void wgmma_fence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }

#define YAMOE_TILE(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define YAMOE_SUMS_2 YAMOE_TILE(0), YAMOE_TILE(1)
#define YAMOE_NAMES_2 "%0, %1, %2, %3, %4, %5, %6, %7"
#define YAMOE_SUMS_4 YAMOE_SUMS_2, YAMOE_TILE(2), YAMOE_TILE(3)
#define YAMOE_NAMES_4 YAMOE_NAMES_2 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define YAMOE_SUMS_6 YAMOE_SUMS_4, YAMOE_TILE(4), YAMOE_TILE(5)
#define YAMOE_NAMES_6 YAMOE_NAMES_4 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define YAMOE_SUMS_8 YAMOE_SUMS_6, YAMOE_TILE(6), YAMOE_TILE(7)
#define YAMOE_NAMES_8 YAMOE_NAMES_6 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define YAMOE_SUMS_12 YAMOE_SUMS_8, YAMOE_TILE(8), YAMOE_TILE(9), YAMOE_TILE(10), YAMOE_TILE(11)
#define YAMOE_NAMES_12 YAMOE_NAMES_8 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47"
#define YAMOE_SUMS_16 YAMOE_SUMS_12, YAMOE_TILE(12), YAMOE_TILE(13), YAMOE_TILE(14), YAMOE_TILE(15)
#define YAMOE_NAMES_16 YAMOE_NAMES_12 ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define YAMOE_SUMS_18 YAMOE_SUMS_16, YAMOE_TILE(16), YAMOE_TILE(17)
#define YAMOE_NAMES_18 YAMOE_NAMES_16 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define YAMOE_SUMS_20 YAMOE_SUMS_18, YAMOE_TILE(18), YAMOE_TILE(19)
#define YAMOE_NAMES_20 YAMOE_NAMES_18 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define YAMOE_SUMS_22 YAMOE_SUMS_20, YAMOE_TILE(20), YAMOE_TILE(21)
#define YAMOE_NAMES_22 YAMOE_NAMES_20 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define YAMOE_SUMS_24 YAMOE_SUMS_22, YAMOE_TILE(22), YAMOE_TILE(23)
#define YAMOE_NAMES_24 YAMOE_NAMES_22 ", %88, %89, %90, %91, %92, %93, %94, %95"

// An instruction for the dtype, with the YAMOE_WGMMA of the function that uses it.
#define YAMOE_CASE(...)                      \
  if constexpr (std::is_same_v<T, __half>) { \
    YAMOE_WGMMA("f16", __VA_ARGS__);         \
  } else {                                   \
    YAMOE_WGMMA("bf16", __VA_ARGS__);        \
  }

// "wgmma.wait_group": waits until at most kPending of the warpgroup's groups are pending.
template <int kPending>
__device__ __forceinline__ void wgmma_wait_groups() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// The compiler does not read the sums before this.
template <int kTiles>
__device__ __forceinline__ void sums_are_complete(float (*c)[4]) {
#pragma unroll
  for (int j = 0; j < kTiles; ++j) asm volatile("" : YAMOE_TILE(j)::"memory");
}

// "wgmma.mma_async": c += a b with f32 sums, over a depth of 16. `a` is 64 x 16 in registers: each warp has 16 rows, in the
// layout of mma.m16n8k16. `b` has 8 kTiles columns in shared memory, whose rows in memory run along the depth.
template <class T, int kTiles>
__device__ __forceinline__ void wgmma_registers(float (&c)[kTiles][4], const uint32_t* a, uint64_t b) {
#define YAMOE_WGMMA(type, tiles, columns, a0, a1, a2, a3, last)                                               \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type " {" YAMOE_NAMES_##tiles \
               "}, {%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #last ", 1, 1, 1, 0;"                         \
               : YAMOE_SUMS_##tiles                                                                           \
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b))
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

#undef YAMOE_WGMMA

// The same with `a` in shared memory. kAcross: whether its rows in memory run across the depth. `c` has at least kTiles tiles.
template <class T, bool kAcross, int kTiles>
__device__ __forceinline__ void wgmma_shared(float (*c)[4], uint64_t a, uint64_t b) {
#define YAMOE_WGMMA(type, tiles, columns, first, second, across)                                              \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type " {" YAMOE_NAMES_##tiles \
               "}, %" #first ", %" #second ", 1, 1, 1, %" #across ", 0;"                                      \
               : YAMOE_SUMS_##tiles                                                                           \
               : "l"(a), "l"(b), "n"(kAcross))
  if constexpr (kTiles == 4) {
    YAMOE_CASE(4, 32, 16, 17, 18)
  } else if constexpr (kTiles == 8) {
    YAMOE_CASE(8, 64, 32, 33, 34)
  } else if constexpr (kTiles == 12) {
    YAMOE_CASE(12, 96, 48, 49, 50)
  } else if constexpr (kTiles == 16) {
    YAMOE_CASE(16, 128, 64, 65, 66)
  } else if constexpr (kTiles == 18) {
    YAMOE_CASE(18, 144, 72, 73, 74)
  } else if constexpr (kTiles == 20) {
    YAMOE_CASE(20, 160, 80, 81, 82)
  } else if constexpr (kTiles == 22) {
    YAMOE_CASE(22, 176, 88, 89, 90)
  } else {
    static_assert(kTiles == 24, "wgmma is not instantiated for this number of columns");
    YAMOE_CASE(24, 192, 96, 97, 98)
  }
}

#undef YAMOE_TILE
#undef YAMOE_WGMMA
#undef YAMOE_CASE

#endif

}  // namespace yamoe
