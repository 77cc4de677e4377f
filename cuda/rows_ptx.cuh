#pragma once
#include <ptx.cuh>
namespace yamoe {
#define YAMOE_TILE(j) "+f"(c[j][0]), "+f"(c[j][1]), "+f"(c[j][2]), "+f"(c[j][3])
#define YAMOE_SUMS_2 YAMOE_TILE(0), YAMOE_TILE(1)
#define YAMOE_NAMES_2 "%0, %1, %2, %3, %4, %5, %6, %7"
#define YAMOE_SUMS_4 YAMOE_SUMS_2, YAMOE_TILE(2), YAMOE_TILE(3)
#define YAMOE_NAMES_4 YAMOE_NAMES_2 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define YAMOE_SUMS_6 YAMOE_SUMS_4, YAMOE_TILE(4), YAMOE_TILE(5)
#define YAMOE_NAMES_6 YAMOE_NAMES_4 ", %16, %17, %18, %19, %20, %21, %22, %23"
#define YAMOE_SUMS_8 YAMOE_SUMS_6, YAMOE_TILE(6), YAMOE_TILE(7)
#define YAMOE_NAMES_8 YAMOE_NAMES_6 ", %24, %25, %26, %27, %28, %29, %30, %31"
#define YAMOE_SUMS_10 YAMOE_SUMS_8, YAMOE_TILE(8), YAMOE_TILE(9)
#define YAMOE_NAMES_10 YAMOE_NAMES_8 ", %32, %33, %34, %35, %36, %37, %38, %39"
#define YAMOE_SUMS_12 YAMOE_SUMS_10, YAMOE_TILE(10), YAMOE_TILE(11)
#define YAMOE_NAMES_12 YAMOE_NAMES_10 ", %40, %41, %42, %43, %44, %45, %46, %47"
#define YAMOE_SUMS_14 YAMOE_SUMS_12, YAMOE_TILE(12), YAMOE_TILE(13)
#define YAMOE_NAMES_14 YAMOE_NAMES_12 ", %48, %49, %50, %51, %52, %53, %54, %55"
#define YAMOE_SUMS_16 YAMOE_SUMS_14, YAMOE_TILE(14), YAMOE_TILE(15)
#define YAMOE_NAMES_16 YAMOE_NAMES_14 ", %56, %57, %58, %59, %60, %61, %62, %63"
#define YAMOE_SUMS_18 YAMOE_SUMS_16, YAMOE_TILE(16), YAMOE_TILE(17)
#define YAMOE_NAMES_18 YAMOE_NAMES_16 ", %64, %65, %66, %67, %68, %69, %70, %71"
#define YAMOE_SUMS_20 YAMOE_SUMS_18, YAMOE_TILE(18), YAMOE_TILE(19)
#define YAMOE_NAMES_20 YAMOE_NAMES_18 ", %72, %73, %74, %75, %76, %77, %78, %79"
#define YAMOE_SUMS_22 YAMOE_SUMS_20, YAMOE_TILE(20), YAMOE_TILE(21)
#define YAMOE_NAMES_22 YAMOE_NAMES_20 ", %80, %81, %82, %83, %84, %85, %86, %87"
#define YAMOE_SUMS_24 YAMOE_SUMS_22, YAMOE_TILE(22), YAMOE_TILE(23)
#define YAMOE_NAMES_24 YAMOE_NAMES_22 ", %88, %89, %90, %91, %92, %93, %94, %95"

template <class T, bool kAcross, int kTiles>
__device__ __forceinline__ void wgmma_tiles(float (*c)[4], uint64_t a, uint64_t b) {
#define YAMOE_WGMMA(type, tiles, columns, ia, ib, ic)                                                         \
  asm volatile("wgmma.mma_async.sync.aligned.m64n" #columns "k16.f32." type "." type " {" YAMOE_NAMES_##tiles \
               "}, %" #ia ", %" #ib ", 1, 1, 1, %" #ic ", 0;"                                                 \
               : YAMOE_SUMS_##tiles                                                                           \
               : "l"(a), "l"(b), "n"(kAcross))
#define YAMOE_CASE(...)                      \
  if constexpr (std::is_same_v<T, __half>) { \
    YAMOE_WGMMA("f16", __VA_ARGS__);         \
  } else {                                   \
    YAMOE_WGMMA("bf16", __VA_ARGS__);        \
  }
  if constexpr (kTiles == 2) {
    YAMOE_CASE(2, 16, 8, 9, 10)
  } else if constexpr (kTiles == 4) {
    YAMOE_CASE(4, 32, 16, 17, 18)
  } else if constexpr (kTiles == 6) {
    YAMOE_CASE(6, 48, 24, 25, 26)
  } else if constexpr (kTiles == 8) {
    YAMOE_CASE(8, 64, 32, 33, 34)
  } else if constexpr (kTiles == 10) {
    YAMOE_CASE(10, 80, 40, 41, 42)
  } else if constexpr (kTiles == 12) {
    YAMOE_CASE(12, 96, 48, 49, 50)
  } else if constexpr (kTiles == 14) {
    YAMOE_CASE(14, 112, 56, 57, 58)
  } else if constexpr (kTiles == 16) {
    YAMOE_CASE(16, 128, 64, 65, 66)
  } else if constexpr (kTiles == 18) {
    YAMOE_CASE(18, 144, 72, 73, 74)
  } else if constexpr (kTiles == 20) {
    YAMOE_CASE(20, 160, 80, 81, 82)
  } else if constexpr (kTiles == 22) {
    YAMOE_CASE(22, 176, 88, 89, 90)
  } else if constexpr (kTiles == 24) {
    YAMOE_CASE(24, 192, 96, 97, 98)
  } else {
    static_assert(kTiles == 0, "no such width");
  }
}
template <int kPending>
__device__ __forceinline__ void wgmma_wait_groups() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}
template <int kStrips, int kTiles>
__device__ __forceinline__ void sums_are_complete(float (&sums)[kStrips][kTiles][4]) {
  float (*c)[4] = &sums[0][0];
#pragma unroll
  for (int j = 0; j < kStrips * kTiles; ++j) asm volatile("" : YAMOE_TILE(j)::"memory");
}
__device__ __forceinline__ void bulk_copy_5d(uint32_t to, const TensorMap& map, uint32_t barrier, int c0, int c1,
                                             int c2, int c3, int c4) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%3, %4, %5, %6, %7}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(c0), "r"(c1), "r"(c2), "r"(c3), "r"(c4)
      : "memory");
}
__device__ __forceinline__ uint32_t transpose_8x8(uint32_t v) {
  uint32_t x;
  asm volatile("movmatrix.sync.aligned.m8n8.trans.b16 %0, %1;" : "=r"(x) : "r"(v));
  return x;
}

}
