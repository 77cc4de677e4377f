// The producers of Hopper's grouped GEMM, which copy the operands into the ring: see warpgroup_gemm.cuh.
#pragma once
#include <ptx.cuh>

#include "boxes.cuh"
#include "warpgroup_tiles.cuh"

namespace yamoe {

// The boxes of weights that a tile needs. Missing columns, and rows beyond the depth, become zeros.
template <class Tile, WeightLayout kLayout, bool kGated>
struct WeightBoxes {
  // Whether the first strip of a pair has gates, and the second one their ups.
  static constexpr bool kPairs = kGated && kLayout != WeightLayout::kInOut;
  static constexpr int kPairColumns = (kPairs ? 1 : 2) * Tile::kStripColumns;  // different column numbers of a pair
  const TensorMap& map;
  int expert, column;

  // The first column of a consumer's pair of strips. A gate column and its up column have the same number.
  static __device__ __forceinline__ int first_column(const TilePosition& at, int consumer) {
    return (kPairs ? at.column / 2 : at.column) + consumer * kPairColumns;
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    expert = at.expert;
    column = first_column(at, 0);
  }

  // A box has a pair of strips, or one strip if the rows of the weights run along the columns and there are no halves.
  __device__ __forceinline__ void copy(uint32_t to, uint32_t full, int k) const {
    constexpr int kBoxes = kLayout == WeightLayout::kInOut ? Tile::kBN / Tile::kStripColumns : Tile::kConsumers;
#pragma unroll
    for (int i = 0; i < kBoxes; ++i) {
      const int first = column + i * (Tile::kConsumers * kPairColumns / kBoxes);
      const uint32_t box = to + i * (Tile::kWeightBytes / kBoxes);
      if constexpr (kLayout == WeightLayout::kOutIn) {
        bulk_copy_4d(box, map, full, k, first, 0, expert);
      } else {
        bulk_copy_4d(box, map, full, first, k, 0, expert);
      }
    }
  }
};

// Copies the steps of a tile into the ring, and gathers the rows of the input. Producers have few registers, so each warp
// keeps the addresses of its rows in shared memory.
template <class Tile_, WeightLayout kLayout_, class T_>
struct GatheringLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedArguments<T>;
  using Weights = WeightBoxes<Tile, kLayout_, true>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = Tile::kProducers * 128;
  static constexpr int kArrivals = kThreads + 1;  // per stage; the thread that issues the boxes arrives twice

  const Product<T>& p;
  Weights weights;
  const T** const rows;   // addresses of the warp's rows: four per pass
  const uint32_t offset;  // of the thread's first chunk in a stage
  int passes;             // as many as the width of the multiplication needs

  __device__ __forceinline__ GatheringLoader(const Product<T>& product, const Arguments& arguments, void* table)
      : p(product),
        weights{arguments.weights},
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(Tile::kWeightBytes + thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}

  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kConsumers * 128; }

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) {
    prefetch_tensor_map(arguments.weights);
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at);
    __syncwarp();
    // Missing rows are replaced by other rows of the tile: their sums are not stored.
    const int count = at.row_end - at.row;
    passes = (count + Tile::kPassRows - 1) / Tile::kPassRows;
#pragma unroll 1
    for (int i = thread() % 32; i < 4 * passes; i += 32) {
      const int own = i / 4 * Tile::kPassRows + thread() / 32 * 4 + i % 4;
      const int r = at.row + (own < count ? own : own * count / Tile::kBM);
      rows[i] = p.input + static_cast<size_t>(p.row_index[r]) * p.depth;
    }
    __syncwarp();
  }

  // Copies a step to a stage and arrives at its barrier. Elements beyond the depth become zeros.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    if (thread() == 0) {
      mbarrier_arrive_expecting(full, Tile::kWeightBytes);
      weights.copy(stage, full, k);
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

  __device__ __forceinline__ void finish() const {
    cp_async_commit();
    cp_async_wait<0>();
  }
};

// The same for consecutive rows of the input, which one thread copies in boxes.
template <class Tile_, WeightLayout kLayout_, class T_>
struct BoxLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedRowsArguments<T>;
  using Weights = WeightBoxes<Tile, kLayout_, false>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = 1, kArrivals = 1;

  Weights weights;
  const TensorMap& rows;
  int row, boxes;  // of the input

  __device__ __forceinline__ BoxLoader(const Product<T>&, const Arguments& arguments, void*)
      : weights{arguments.weights}, rows(arguments.rows) {}

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) {
    prefetch_tensor_map(arguments.weights);
    prefetch_tensor_map(arguments.rows);
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at);
    row = at.row;
    boxes = (at.row_end - at.row + Tile::kBoxRows - 1) / Tile::kBoxRows;
  }

  // Missing rows of the last box are those of the next tile, or zeros. Their sums are not stored.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    constexpr int kBoxBytes = Tile::kBoxRows * Tile::kRowBytes;
    mbarrier_arrive_expecting(full, Tile::kWeightBytes + boxes * kBoxBytes);
    weights.copy(stage, full, k);
    for (int i = 0; i < boxes; ++i) {
      bulk_copy_4d(stage + Tile::kWeightBytes + i * kBoxBytes, rows, full, k, row + i * Tile::kBoxRows, 0, 0);
    }
  }

  __device__ __forceinline__ void finish() const {}
};

}  // namespace yamoe
