// The grouped GEMM for Hopper. It computes the product of grouped_gemm.cuh with wgmma, which reads both operands from
// shared memory.
//
// A block has four warpgroups: two producers, which copy, and two consumers, which multiply half of the tile's rows
// each. They synchronize with two mbarriers per stage of the ring: "full" completes with the last byte of a stage, and
// "empty" with the last read of it. So copies run ahead from one tile to the next, and one consumer may store its
// results while the other still multiplies.
//
// The producer threads gather A row by row. B is copied in boxes of a tensor map, which one thread issues. The map
// knows where gate and up columns are in memory: see src/cuda/plan/weight_boxes.ts. Rows in shared memory have 128
// bytes, in 16-byte chunks with the swizzle of wgmma. The rows of A and of an out-in B run along the depth. An in-out B
// is stored in slabs of columns, whose rows run along the columns.
//
// The last tile of an expert may have few rows. A consumer multiplies only its units of 64 rows that have rows, and A is
// copied only for those.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx.cuh>

#include "boxes.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_>
struct WarpgroupTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBK = 64;                                           // depth of one step: four wgmmas
  static constexpr int kConsumers = 2, kProducers = 2;                     // warpgroups
  static constexpr int kConsumerRegisters = 232, kProducerRegisters = 24;  // of each thread
  static constexpr int kThreads = (kConsumers + kProducers) * 128;
  static constexpr int kWM = kBM / kConsumers;
  static constexpr int kMmaRows = 64, kMmaM = kWM / kMmaRows, kMmaN = kBN / 8;

  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesA = kBM * kRowBytes, kBytesB = kBN * kRowBytes, kStageBytes = kBytesA + kBytesB;
  static constexpr int kSlabColumns = 64, kSlabBytes = kBK * kSlabColumns * 2;
  static constexpr int kTableBytes = kBM * 8;  // a pointer to each row of A
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSharedBytes = kEmpty + kStages * 8;

  static constexpr int kPassRows = kProducers * 16;  // rows of A per pass, eight threads each
  static constexpr int kPasses = kBM / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of 128-byte rows");
  static_assert(kBN == 192, "wgmma is instantiated for 192 columns");
  static_assert(kMmaRows % kPassRows == 0 && kPassRows % 8 == 0, "a pass must not change the swizzle");
  static_assert((kConsumers * kConsumerRegisters + kProducers * kProducerRegisters) * 128 <= 65536,
                "the registers of a block");
  static_assert(kSharedBytes <= 227 * 1024, "the shared memory of a block");
};

// Copies the steps of a tile into the ring. Producers have few registers, so each warp keeps the addresses of its rows
// of A in shared memory.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupLoader {
  const Product<T>& p;
  const TensorMap& weights;
  const T** const rows;   // addresses of the warp's rows of A: four per pass
  const uint32_t offset;  // of the thread's first chunk of A in a stage
  int expert, column;     // of B; a gate column and its up column have the same number
  int passes;             // as many as the consumers' rows need

  __device__ __forceinline__ WarpgroupLoader(const Product<T>& product, const TensorMap& map, void* table)
      : p(product),
        weights(map),
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}

  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kConsumers * 128; }

  __device__ __forceinline__ void aim(int index) {
    const TilePosition at = locate<Tile>(p, index);
    expert = at.expert;
    column = p.columns.half ? at.column / 2 : at.column;
    __syncwarp();
    // Missing rows are replaced by other rows of the tile: their sums are not stored.
    const int count = min(Tile::kBM, at.row_end - at.row);
    passes = (count + Tile::kMmaRows - 1) / Tile::kMmaRows * (Tile::kMmaRows / Tile::kPassRows);
#pragma unroll 1
    for (int i = thread() % 32; i < 4 * passes; i += 32) {
      const int own = i / 4 * Tile::kPassRows + thread() / 32 * 4 + i % 4;
      const int r = at.row + (own < count ? own : own * count / Tile::kBM);
      rows[i] = p.input + static_cast<size_t>(p.row_index ? p.row_index[r] : r) * p.depth;
    }
    __syncwarp();
  }

  // Copies a step to a stage and arrives at its barrier. Elements beyond the depth and missing columns of B become
  // zeros.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    if (thread() == 0) {
      const uint32_t to = stage + Tile::kBytesA;
      mbarrier_arrive_expecting(full, Tile::kBytesB);
      if constexpr (kLayout == WeightLayout::kOutIn) {
        bulk_copy_4d(to, weights, full, k, 0, column, expert);
      } else {
        constexpr int kParts = kLayout == WeightLayout::kInOutSplit ? 2 : 1;
#pragma unroll
        for (int s = 0; s < Tile::kBN / Tile::kSlabColumns; ++s) {
          bulk_copy_4d(to + s * Tile::kSlabBytes, weights, full, column + s * Tile::kSlabColumns / kParts, k, 0,
                       expert);
        }
      }
    }
    const int own = k + thread() % 8 * kChunk;
    const int deep = own < p.depth ? 16 : 0;  // in bytes; the depth is a multiple of a chunk
    const int at = deep ? own : 0;
    uint32_t to = stage + offset;
#pragma unroll 4
    for (int i = 0; i < passes; ++i) {
      cp_async_16(to, rows[i * 4 + thread() / 8 % 4] + at, deep);
      to += Tile::kPassRows * Tile::kRowBytes;
    }
    cp_async_arrive(full);
  }
};

// Adds the product over the whole depth to the sums of a warpgroup's first kCount * kMmaRows rows. Without rows, it only
// releases the stages. The sums are cleared by the caller: if the first wgmma did that, the compiler would serialize all.
template <int kCount, class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void multiply_rows(float (&sums)[Tile::kMmaM][Tile::kMmaN][4], uint32_t ring,
                                              RingPlace<Tile>& place, int depth, int warp_m) {
  constexpr bool kOutIn = kLayout == WeightLayout::kOutIn;
  constexpr int kRowBytes = kLayout == WeightLayout::kInOutSplit ? Tile::kRowBytes / 2 : Tile::kRowBytes;  // of B
  // Called when the warp has read the stage before the current one: the producers may overwrite it.
  const auto release = [&] {
    __syncwarp();
    const int before = place.stage == 0 ? Tile::kStages - 1 : place.stage - 1;
    if (threadIdx.x % 32 == 0) mbarrier_arrive(ring + Tile::kEmpty + before * 8);
  };
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
    if constexpr (kCount > 0) {
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
        for (int i = 0; i < kCount; ++i) {
          const uint64_t rows =
              wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 0, Tile::kRowBytes);
          wgmma_m64n192k16<T, !kOutIn>(sums[i], rows, columns, true);
        }
      }
      wgmma_commit();
      wgmma_wait<1>(sums);
    }
    if (k > 0) release();
    place.next();
  }
  if constexpr (kCount > 0) wgmma_wait<0>(sums);
  release();
}

// The kernel. It calls `epilogue(sums, position, warp_m)` with a warp's sums, [kMmaM][kMmaN][4], in the layout of
// mma.m16n8k16 for every kMmaRows rows.
template <class Tile, WeightLayout kLayout, class T, class Epilogue>
__device__ __forceinline__ void warpgroup_gemm(const Product<T>& p, const TensorMap& weights,
                                               const Epilogue& epilogue) {
  const uint32_t ring = shared_address(dynamic_smem());
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  const int count = tile_count<Tile>(p);

  if (threadIdx.x == 0) {
    prefetch_tensor_map(weights);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s * 8, Tile::kProducers * 128 + 1);  // the thread that issues the boxes arrives twice
      mbarrier_init(empty + s * 8, Tile::kConsumers * 4);       // one per warp
    }
    fence_async_proxy();
  }
  __syncthreads();

  RingPlace<Tile> place;
  if (threadIdx.x >= Tile::kConsumers * 128) {
    set_fewer_registers<Tile::kProducerRegisters>();
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
    set_more_registers<Tile::kConsumerRegisters>();
    const int warp_m = threadIdx.x / 128 * Tile::kWM;
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      const TilePosition at = locate<Tile>(p, index);
      const int rows = at.row_end - at.row - warp_m;
      float sums[Tile::kMmaM][Tile::kMmaN][4] = {};
      if (rows > (Tile::kMmaM - 1) * Tile::kMmaRows) {
        multiply_rows<Tile::kMmaM, Tile, kLayout, T>(sums, ring, place, p.depth, warp_m);
      } else if (Tile::kMmaM > 1 && rows > 0) {
        multiply_rows<1, Tile, kLayout, T>(sums, ring, place, p.depth, warp_m);
      } else {
        multiply_rows<0, Tile, kLayout, T>(sums, ring, place, p.depth, warp_m);
        continue;
      }
      epilogue(sums, at, warp_m + threadIdx.x % 128 / 32 * 16);
    }
  }
}

}  // namespace yamoe
