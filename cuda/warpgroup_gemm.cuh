// The grouped GEMM for Hopper: the product of grouped_gemm.cuh by wgmma, which reads both operands from shared memory.
//
// Four warpgroups a block: two copy, two multiply, each half of the tile's rows. They meet at two mbarriers for each stage of
// the ring: "full" comes with the last byte of a stage, "empty" with the last read of it. So copies run ahead across the border
// between two tiles, and one warpgroup may store its results while the other still multiplies.
//
// A is gathered row by row by the threads; B comes in boxes of a tensor map, which one thread asks for. The map says where gates
// and ups are: see src/cuda/weight_boxes.ts. Rows in shared memory are 128 bytes, in 16-byte chunks swizzled as wgmma wants it. The
// rows of A and of an out-in B run along the depth; an in-out B lies in slabs of columns, whose rows run along the columns.
//
// An element's chain of additions is that of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx.cuh>

#include "grouped_gemm.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_>
struct WarpgroupTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBK = 64;                        // depth of one step: four wgmmas
  static constexpr int kMultiplying = 2, kCopying = 2;  // warpgroups
  static constexpr int kMore = 232, kFewer = 24;        // registers of their threads
  static constexpr int kThreads = (kMultiplying + kCopying) * 128;
  static constexpr int kWM = kBM / kMultiplying;
  static constexpr int kMmaRows = 64, kMmaM = kWM / kMmaRows, kMmaN = kBN / 8;

  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesA = kBM * kRowBytes, kBytesB = kBN * kRowBytes, kStageBytes = kBytesA + kBytesB;
  static constexpr int kSlabColumns = 64, kSlabBytes = kBK * kSlabColumns * 2;
  static constexpr int kTableBytes = kBM * 8;  // a pointer to each row of A
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSharedBytes = kEmpty + kStages * 8;

  static constexpr int kPassRows = kCopying * 16;  // rows of A that are copied at once, eight threads each
  static constexpr int kPasses = kBM / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of rows of 128 bytes");
  static_assert(kBN == 192, "wgmma is instantiated for 192 columns");
  static_assert(kBM % kPassRows == 0 && kPassRows % 8 == 0, "a pass must leave the swizzle as it is");
  static_assert((kMultiplying * kMore + kCopying * kFewer) * 128 <= 65536, "what a block can have");
  static_assert(kSharedBytes <= 227 * 1024, "what a block can have");
};

// How B lies in memory. kInOutApart: gates in one half of each row, their ups in the other; they come in slabs of their own, half
// as wide.
enum class WeightLayout { kInOut, kInOutApart, kOutIn };

// Copies the steps of a tile into the ring. Registers are few here, so each warp keeps where its rows of A begin in shared
// memory.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupLoader {
  const Problem<T>& p;
  const TensorMap& weights;
  const T** const rows;   // of A, of the warp: four for each pass
  const uint32_t offset;  // where the thread's first chunk of A goes to
  int expert, column;     // of B, where gates and ups are counted alike

  __device__ __forceinline__ WarpgroupLoader(const Problem<T>& problem, const TensorMap& map, void* table)
      : p(problem),
        weights(map),
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}

  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kMultiplying * 128; }

  __device__ __forceinline__ void aim(int index) {
    const TilePosition at = locate<Tile>(p, index);
    expert = at.expert;
    column = p.columns.half ? at.column / 2 : at.column;
    __syncwarp();
    // In the place of rows that are not there stand others of the tile: their sums are not stored.
    const int there = min(Tile::kBM, at.row_end - at.row);
#pragma unroll 1
    for (int i = thread() % 32; i < 4 * Tile::kPasses; i += 32) {
      const int own = i / 4 * Tile::kPassRows + thread() / 32 * 4 + i % 4;
      const int r = at.row + (own < there ? own : own * there / Tile::kBM);
      rows[i] = p.a + static_cast<size_t>(p.row_index ? p.row_index[r] : r) * p.depth;
    }
    __syncwarp();
  }

  // Copies a step to a stage, and arrives at its barrier: zeros past the depth, and of B for columns that are not there.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    if (thread() == 0) {
      const uint32_t to = stage + Tile::kBytesA;
      mbarrier_arrive_expecting(full, Tile::kBytesB);
      if constexpr (kLayout == WeightLayout::kOutIn) {
        bulk_copy_4d(to, weights, full, k, 0, column, expert);
      } else {
        constexpr int kParts = kLayout == WeightLayout::kInOutApart ? 2 : 1;
#pragma unroll
        for (int s = 0; s < Tile::kBN / Tile::kSlabColumns; ++s) {
          bulk_copy_4d(to + s * Tile::kSlabBytes, weights, full, column + s * Tile::kSlabColumns / kParts, k, 0,
                       expert);
        }
      }
    }
    const int own = k + thread() % 8 * kChunk;
    const int deep = own < p.depth ? 16 : 0;  // bytes: the depth is a multiple of a chunk
    const int at = deep ? own : 0;
    uint32_t to = stage + offset;
#pragma unroll 4
    for (int i = 0; i < Tile::kPasses; ++i) {
      cp_async_16(to, rows[i * 4 + thread() / 8 % 4] + at, deep);
      to += Tile::kPassRows * Tile::kRowBytes;
    }
    cp_async_arrive(full);
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
template <class Tile, WeightLayout kLayout, class T, class Epilogue>
__device__ __forceinline__ void warpgroup_gemm(const Problem<T>& p, const TensorMap& weights,
                                               const Epilogue& epilogue) {
  const uint32_t ring = shared_address(dynamic_smem());
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  const int count = tile_count<Tile>(p);

  if (threadIdx.x == 0) {
    prefetch_tensor_map(weights);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s * 8, Tile::kCopying * 128 + 1);  // the thread that asks for boxes arrives twice
      mbarrier_init(empty + s * 8, Tile::kMultiplying * 4);   // one of each warp
    }
    fence_async_proxy();
  }
  __syncthreads();

  RingPlace<Tile> place;
  if (threadIdx.x >= Tile::kMultiplying * 128) {
    set_fewer_registers<Tile::kFewer>();
    WarpgroupLoader<Tile, kLayout, T> loader(p, weights, dynamic_smem() + Tile::kTable);
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      loader.aim(index);
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, full + place.stage * 8, k);
        place.next();
      }
    }
    cp_async_commit();
    cp_async_wait<0>();
  } else {
    set_more_registers<Tile::kMore>();
    const int warp_m = threadIdx.x / 128 * Tile::kWM;
    constexpr bool kOutIn = kLayout == WeightLayout::kOutIn;
    constexpr int kRowBytes = kLayout == WeightLayout::kInOutApart ? Tile::kRowBytes / 2 : Tile::kRowBytes;  // of B
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
          const uint64_t columns = kOutIn
                                       ? wgmma_descriptor(b + step * 32, 0, Tile::kRowBytes)
                                       : wgmma_descriptor(b + step * 16 * kRowBytes, Tile::kBK * kRowBytes, kRowBytes);
#pragma unroll
          for (int i = 0; i < Tile::kMmaM; ++i) {
            const uint64_t rows =
                wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 0, Tile::kRowBytes);
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
