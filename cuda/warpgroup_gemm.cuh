// The grouped GEMM for Hopper: the product of grouped_gemm.cuh by wgmma, which reads both operands from shared memory.
//
// Four warpgroups a block: two copy, two multiply, each half of the tile's rows. They meet at two mbarriers for each stage of the
// ring: "full" comes with the last copy of a stage, "empty" with the last read of it. So copies run ahead across the border
// between two tiles, and one warpgroup may store its results while the other still multiplies.
//
// Rows in shared memory are 128 bytes, in 16-byte chunks swizzled as wgmma wants it. The rows of A and of an out-in B run along
// the depth; an in-out B lies in slabs of 64 columns, whose rows run along the columns.
//
// An element's chain of additions is that of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx.cuh>

#include "grouped_gemm.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_, int kFewer_, int kMore_>
struct WarpgroupTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kFewer = kFewer_, kMore = kMore_;  // registers of a thread that copies, and of one that multiplies
  static constexpr int kBK = 64;  // depth of one step: four wgmmas
  static constexpr int kMultiplying = 2, kCopying = 2;  // warpgroups
  static constexpr int kThreads = (kMultiplying + kCopying) * 128;
  static constexpr int kWM = kBM / kMultiplying;
  static constexpr int kMmaRows = 64, kMmaM = kWM / kMmaRows, kMmaN = kBN / 8;

  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesA = kBM * kRowBytes, kBytesB = kBN * kRowBytes, kStageBytes = kBytesA + kBytesB;
  static constexpr int kSlabColumns = 64, kSlabBytes = kBK * kSlabColumns * 2;
  static constexpr int kTableBytes = kBM * 8;  // a pointer to each row of A
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSharedBytes = kEmpty + kStages * 8;

  static constexpr int kPassRows = kCopying * 16;  // rows that are copied at once, eight threads each
  static constexpr int kPassesA = kBM / kPassRows, kPassesB = kBN / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of rows of 128 bytes");
  static_assert(kBN == 192, "wgmma is instantiated for 192 columns");
  static_assert(kBM % kPassRows == 0 && kBN % kPassRows == 0 && kBK % kPassRows == 0, "passes must be whole");
  static_assert(4 * kPassesA <= 32, "a warp's lanes must suffice to find its rows");
  static_assert(kPassRows % 8 == 0, "a pass must leave the swizzle as it is");
  static_assert((kMultiplying * kMore + kCopying * kFewer) * 128 <= 65536, "what a block can have");
  static_assert(kSharedBytes <= 227 * 1024, "what a block can have");
};

// Copies the steps of a tile into the ring. Registers are few here, so each warp keeps where its rows of A begin in shared
// memory.
template <class Tile, bool kOutIn, class T>
struct WarpgroupLoader {
  static constexpr int kSlabs = Tile::kBN / Tile::kSlabColumns;

  const Problem<T>& p;
  const int thread;       // of those that copy
  const T** const rows;   // of A, of the warp: four for each pass
  const int chunk, row;   // what the thread copies of a pass
  const uint32_t offset;  // where to
  uint32_t live;          // which of the thread's rows, or slabs, of B exist
  const T* b;

  __device__ __forceinline__ WarpgroupLoader(const Problem<T>& problem, void* table)
      : p(problem),
        thread(threadIdx.x - Tile::kMultiplying * 128),
        rows(static_cast<const T**>(table) + thread / 32 * (4 * Tile::kPassesA)),
        chunk(thread % 8),
        row(thread / 8),
        offset(row * Tile::kRowBytes + (chunk ^ (row & 7)) * 16) {}

  __device__ __forceinline__ void aim(int index) {
    const TilePosition at = locate<Tile>(p, index);
    const Columns& columns = p.columns;
    __syncwarp();
    // In the place of rows that are not there stand others of the tile: their sums are not stored.
    const int there = min(Tile::kBM, at.row_end - at.row);
    if (const int i = thread % 32; i < 4 * Tile::kPassesA) {
      const int r = at.row + (i / 4 * Tile::kPassRows + thread / 32 * 4 + i % 4) % there;
      rows[i] = p.a + static_cast<size_t>(p.row_index ? p.row_index[r] : r) * p.depth;
    }
    __syncwarp();
    live = 0;
    if constexpr (kOutIn) {
      const int n = at.column + row;
#pragma unroll
      for (int i = 0; i < Tile::kPassesB; ++i) live |= static_cast<uint32_t>(n + i * Tile::kPassRows < columns.width) << i;
      b = p.b + (static_cast<size_t>(at.expert) * columns.width + columns.source<kOutIn>(n)) * p.depth + chunk * kChunk;
    } else {
      const int n = at.column + chunk * kChunk;
#pragma unroll
      for (int s = 0; s < kSlabs; ++s) live |= static_cast<uint32_t>(n + s * Tile::kSlabColumns < columns.width) << s;
      b = p.b + (static_cast<size_t>(at.expert) * p.depth + row) * columns.width + columns.source<kOutIn>(n);
    }
  }

  // Copies a step to a stage: zeros past the depth and for columns that are not there.
  __device__ __forceinline__ void load(uint32_t stage, int k) {
    const int deep = k + chunk * kChunk < p.depth ? 16 : 0;  // bytes: the depth is a multiple of a chunk
    const int at = deep ? k + chunk * kChunk : 0;
    uint32_t to = stage + offset;
#pragma unroll 2
    for (int i = 0; i < Tile::kPassesA; ++i) {
      cp_async_16(to, rows[i * 4 + row % 4] + at, deep);
      to += Tile::kPassRows * Tile::kRowBytes;
    }
    const bool apart = p.columns.half;  // gates and ups: what alternates here lies half as far on in memory
    if constexpr (kOutIn) {
      const int pass = (apart ? Tile::kPassRows / 2 : Tile::kPassRows) * p.depth;
      const T* from = b;
#pragma unroll 2
      for (int i = 0; i < Tile::kPassesB; ++i) {
        cp_async_16(to, from, live >> i & 1 ? deep : 0);
        from += pass;
        to += Tile::kPassRows * Tile::kRowBytes;
      }
      b += Tile::kBK;
    } else {
      const int slab = apart ? Tile::kSlabColumns / 2 : Tile::kSlabColumns;
#pragma unroll 1
      for (int i = 0; i < Tile::kBK / Tile::kPassRows; ++i) {
        const uint32_t slabs = k + row + i * Tile::kPassRows < p.depth ? live : 0;
#pragma unroll
        for (int s = 0; s < kSlabs; ++s) {
          cp_async_16(to + s * Tile::kSlabBytes, b + s * slab, (slabs >> s & 1) * 16);
        }
        b += static_cast<size_t>(Tile::kPassRows) * p.columns.width;
        to += Tile::kPassRows * Tile::kRowBytes;
      }
    }
  }
};

// A place in the ring, and how often the ring has gone around, modulo 2.
template <class Tile>
struct RingPlace {
  int stage = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void next() {
    if (++stage == Tile::kStages) {
      stage = 0;
      round ^= 1;
    }
  }
};

// The whole kernel. `epilogue(sums, position, warp_m)` gets a warp's sums, [kMmaM][kMmaN][4]: rows kMmaRows apart, each in
// mma.m16n8k16's layout.
template <class Tile, bool kOutIn, class T, class Epilogue>
__device__ __forceinline__ void warpgroup_gemm(const Problem<T>& p, const Epilogue& epilogue) {
  const uint32_t ring = shared_address(dynamic_smem());
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  const int count = tile_count<Tile>(p);

  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s * 8, Tile::kCopying * 128);
      mbarrier_init(empty + s * 8, Tile::kMultiplying * 4);  // one of each warp
    }
  }
  __syncthreads();

  RingPlace<Tile> place;
  if (threadIdx.x >= Tile::kMultiplying * 128) {
    set_fewer_registers<Tile::kFewer>();
    WarpgroupLoader<Tile, kOutIn, T> loader(p, dynamic_smem() + Tile::kTable);
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      loader.aim(index);
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, k);
        cp_async_arrive(full + place.stage * 8);
        place.next();
      }
    }
    cp_async_commit();
    cp_async_wait<0>();
  } else {
    set_more_registers<Tile::kMore>();
    const int warp_m = threadIdx.x / 128 * Tile::kWM;
    // Once the warp has read the stage before the present one, the next round may overwrite it.
    const auto release = [&] {
      __syncwarp();
      const int before = place.stage == 0 ? Tile::kStages - 1 : place.stage - 1;
      if (threadIdx.x % 32 == 0) mbarrier_arrive(empty + before * 8);
    };
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      float sums[Tile::kMmaM][Tile::kMmaN][4];
#pragma unroll 1
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(full + place.stage * 8, place.round);
        fence_async_proxy();
        const uint32_t a = ring + place.stage * Tile::kStageBytes + warp_m * Tile::kRowBytes;
        const uint32_t b = ring + place.stage * Tile::kStageBytes + Tile::kBytesA;
        wgmma_fence();
#pragma unroll
        for (int step = 0; step < Tile::kBK / 16; ++step) {
          const uint64_t columns = kOutIn ? wgmma_descriptor(b + step * 32, 0, 8 * Tile::kRowBytes)
                                          : wgmma_descriptor(b + step * 16 * Tile::kRowBytes, Tile::kSlabBytes, 8 * Tile::kRowBytes);
#pragma unroll
          for (int i = 0; i < Tile::kMmaM; ++i) {
            const uint64_t rows = wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 0, 8 * Tile::kRowBytes);
            wgmma_m64n192k16<T, !kOutIn>(sums[i], rows, columns, k > 0 || step > 0);
          }
        }
        wgmma_commit();
        wgmma_wait<1>(sums);
        if (k > 0) release();
        place.next();
      }
      wgmma_wait<0>(sums);
      release();
      epilogue(sums, locate<Tile>(p, index), warp_m + threadIdx.x % 128 / 32 * 16);
    }
  }
}

}  // namespace yamoe
