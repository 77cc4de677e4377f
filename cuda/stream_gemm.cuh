// The grouped GEMM for few rows per expert on Hopper. With few rows the time is that of reading the weights, so the kernel
// only has to keep enough copies in flight on every multiprocessor.
//
// A tile is kBN columns by up to kBM rows. The operands of mma.sync are swapped: the weights' columns are its 16 rows, and
// the input's rows are its 8 columns, so few rows waste little. A tile computes only as many rows, in eights, as there are.
//
// A block has four warps that multiply, 16 columns each; one that copies weights, in boxes of a tensor map; and one that
// copies the input's rows, each with one bulk copy per step. They synchronize with two mbarriers per stage of the ring:
// "full" completes with the last byte of a stage, and "empty" with the last read of it. The copies run ahead from one tile
// to the next. Several blocks share a multiprocessor: all of them have equally many bytes in flight, so the memory serves
// them equally, even if some multiprocessors have more of them.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <type_traits>

#include "boxes.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_, int kBoxes_>
struct StreamTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBoxes = kBoxes_, kBoxDepth = 64, kBK = kBoxes * kBoxDepth;  // depth of a step
  static constexpr int kSlabColumns = 64, kSlabBytes = kBoxDepth * kSlabColumns * 2;  // of weights [in, out]
  static constexpr int kConsumers = kBN / 16, kThreads = (kConsumers + 2) * 32;

  static constexpr int kBoxBytes = kBN * kBoxDepth * 2, kWeightBytes = kBoxes * kBoxBytes;
  static constexpr int kRowBytes = kBK * 2 + 16;  // of the input; the padding avoids bank conflicts of ldmatrix
  static constexpr int kRows = kStages * kWeightBytes, kFull = kRows + kStages * kBM * kRowBytes;
  static constexpr int kEmpty = kFull + kStages * 8, kSharedBytes = kEmpty + kStages * 8;

  static_assert(kBM % 8 == 0 && kBM <= 32, "mma.sync has 8 columns, and each lane copies a row");
  static_assert(kSharedBytes <= 227 * 1024, "the shared memory of a block");
};

// One warp copies the weights of all tiles of the block.
template <class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void copy_weights(const Product<T>& p, const TensorMap& weights, uint32_t ring, int count) {
  RingPlace<Tile> place;
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const TilePosition at = locate_by_warp<Tile>(p, index);
    const int column = p.columns.half ? at.column / 2 : at.column;
    if (threadIdx.x % 32 == 0) {
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        const uint32_t full = ring + Tile::kFull + place.stage * 8, to = ring + place.stage * Tile::kWeightBytes;
        mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
        const int boxes = min(Tile::kBoxes, (p.depth - k + Tile::kBoxDepth - 1) / Tile::kBoxDepth);
        mbarrier_arrive_expecting(full, boxes * Tile::kBoxBytes);
        for (int b = 0; b < boxes; ++b) {
          const int deep = k + b * Tile::kBoxDepth;
          if constexpr (kLayout == WeightLayout::kOutIn) {
            bulk_copy_4d(to + b * Tile::kBoxBytes, weights, full, deep, 0, column, at.expert);
          } else {
            constexpr int kParts = kLayout == WeightLayout::kInOutSplit ? 2 : 1;
#pragma unroll
            for (int s = 0; s < Tile::kBN / Tile::kSlabColumns; ++s) {
              bulk_copy_4d(to + b * Tile::kBoxBytes + s * Tile::kSlabBytes, weights, full,
                           column + s * Tile::kSlabColumns / kParts, deep, 0, at.expert);
            }
          }
        }
        place.next();
      }
    }
  }
}

// One warp copies the input's rows for all tiles of the block: each lane one row.
template <class Tile, class T>
__device__ __forceinline__ void copy_rows(const Product<T>& p, uint32_t ring, int count) {
  const int lane = threadIdx.x % 32;
  RingPlace<Tile> place;
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const TilePosition at = locate_by_warp<Tile>(p, index);
    const int rows = min(Tile::kBM, at.row_end - at.row);
    const int row = at.row + min(lane, rows - 1);
    const T* const from = p.input + static_cast<size_t>(p.row_index ? p.row_index[row] : row) * p.depth;
    for (int k = 0; k < p.depth; k += Tile::kBK) {
      const uint32_t full = ring + Tile::kFull + place.stage * 8;
      const uint32_t to = ring + Tile::kRows + (place.stage * Tile::kBM + lane) * Tile::kRowBytes;
      const int bytes = min(Tile::kBK, p.depth - k) * 2;
      mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
      if (lane == 0) mbarrier_arrive_expecting(full, rows * bytes);
      __syncwarp();
      if (lane < rows) bulk_copy(to, from + k, bytes, full);
      place.next();
    }
  }
}

// Reads a warp's weights for a depth of 16 from a box, as the first operand of mma.sync. Its rows 0 to 7 and 8 to 15 are:
//   kInOut       the warp's columns in the order of memory
//   kInOutSplit  8 gate columns and their 8 up columns
//   kOutIn       columns 0 2 4 6 9 11 13 15 and 1 3 5 7 8 10 12 14. So each lane gets neighbouring columns, and the rows of
//                an ldmatrix phase are in different banks.
template <WeightLayout kLayout>
struct WeightReader {
  uint32_t offset;

  __device__ __forceinline__ WeightReader(int warp, int lane) {
    const int row = lane % 8, second = lane / 8 % 2, deep = lane / 16;  // of the 8x8 matrices
    if constexpr (kLayout == WeightLayout::kOutIn) {
      const int column = warp * 16 + row * 2 + (second ^ row / 4);
      offset = column * 128 + (deep ^ column % 8) * 16;
    } else if constexpr (kLayout == WeightLayout::kInOut) {
      offset = warp / 4 * 8192 + (deep * 8 + row) * 128 + (warp % 4 * 2 + second ^ row) * 16;
    } else {
      offset = warp / 4 * 8192 + second * 4096 + (deep * 8 + row) * 64 + (warp % 4 ^ row / 2) * 16;
    }
  }

  __device__ __forceinline__ void read(uint32_t (&to)[4], uint32_t box, int step) const {
    if constexpr (kLayout == WeightLayout::kOutIn) {
      ldmatrix_x4(to, box + (offset ^ step * 32));
    } else {
      ldmatrix_x4_trans(to, box + offset + step * 16 * (kLayout == WeightLayout::kInOut ? 128 : 64));
    }
  }
};

// Adds the product of a box to the sums. `row` is the address of the lane's first row of the input, and `last` that of its
// row in the last eight. kPartial: the input ends after `deep` elements. The weights beyond are zeros; the input's must be too.
template <int kEights, bool kPartial, class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void multiply_box(float (&sums)[kEights][4], const WeightReader<kLayout>& weights,
                                             uint32_t box, uint32_t row, uint32_t last, int deep) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int chunk = half * 4 + static_cast<int>(threadIdx.x % 32) / 8, chunks = deep / kChunk;
    const uint32_t own = (kPartial ? min(chunk, chunks - 1) : chunk) * 16;
    uint32_t b[kEights][4], a[4];
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      ldmatrix_x4(b[j], (j < kEights - 1 ? row + j * 8 * Tile::kRowBytes : last) + own);
      if constexpr (kPartial) {
#pragma unroll
        for (int i = 0; i < 4; ++i) b[j][i] = half * 4 + i < chunks ? b[j][i] : 0;
      }
    }
#pragma unroll
    for (int quarter = 0; quarter < 2; ++quarter) {
      weights.read(a, box, half * 2 + quarter);
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        const uint32_t columns[2] = {b[j][quarter * 2], b[j][quarter * 2 + 1]};
        mma_m16n8k16<T>(sums[j], a, columns);
      }
    }
  }
}

// A warp's sums for a tile, over the whole depth.
template <int kEights, class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void multiply_tile(float (&sums)[kEights][4], const WeightReader<kLayout>& weights,
                                              uint32_t ring, RingPlace<Tile>& place, int depth, int rows) {
  const int lane = threadIdx.x % 32;
  const int eight = lane % 8, last_row = min((kEights - 1) * 8 + eight, rows - 1);  // missing rows read the last one
#pragma unroll
  for (int j = 0; j < kEights; ++j) sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
#pragma unroll
    for (int b = 0; b < Tile::kBoxes; ++b) {
      const uint32_t box = ring + place.stage * Tile::kWeightBytes + b * Tile::kBoxBytes;
      const uint32_t first =
          ring + Tile::kRows + place.stage * Tile::kBM * Tile::kRowBytes + b * Tile::kBoxDepth * 2;
      const uint32_t row = first + eight * Tile::kRowBytes, last = first + last_row * Tile::kRowBytes;
      const int deep = depth - k - b * Tile::kBoxDepth;
      if (deep >= Tile::kBoxDepth) {
        multiply_box<kEights, false, Tile, kLayout, T>(sums, weights, box, row, last, Tile::kBoxDepth);
      } else if (deep > 0) {
        multiply_box<kEights, true, Tile, kLayout, T>(sums, weights, box, row, last, deep);
      }
    }
    __syncwarp();
    if (lane == 0) mbarrier_arrive(ring + Tile::kEmpty + place.stage * 8);
    place.next();
  }
}

// Calls `use` with the number of eights of rows, at most kMaximum, as a compile-time constant.
template <int kEights, int kMaximum, class Use>
__device__ __forceinline__ void with_eights(int eights, const Use& use) {
  if constexpr (kEights < kMaximum) {
    if (eights > kEights) return with_eights<kEights + 1, kMaximum>(eights, use);
  }
  use(std::integral_constant<int, kEights>{});
}

// The kernel. It calls `epilogue(sums, position)` with a warp's sums, [eights of rows][4].
template <class Tile, WeightLayout kLayout, class T, class Epilogue>
__device__ __forceinline__ void stream_gemm(const Product<T>& p, const TensorMap& weights, const Epilogue& epilogue) {
  const uint32_t ring = shared_address(dynamic_smem());
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    prefetch_tensor_map(weights);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(ring + Tile::kFull + s * 8, 2);  // both copying warps
      mbarrier_init(ring + Tile::kEmpty + s * 8, Tile::kConsumers);
    }
    fence_async_proxy();
  }
  __syncthreads();
  // The weights do not depend on the previous kernel, but the offsets do if it is the sort.
  if (warp != Tile::kConsumers || !p.offsets_ready) {
    wait_for_previous_kernel();
    allow_next_kernel();
  } else {
    see_older_kernels();
  }
  const int count = tile_count<Tile>(p);
  if (warp == Tile::kConsumers) {
    copy_weights<Tile, kLayout>(p, weights, ring, count);
  } else if (warp == Tile::kConsumers + 1) {
    copy_rows<Tile>(p, ring, count);
  } else {
    const WeightReader<kLayout> reader(warp, threadIdx.x % 32);
    RingPlace<Tile> place;
    for (int index = blockIdx.x; index < count; index += gridDim.x) {
      const TilePosition at = locate_by_warp<Tile>(p, index);
      const int rows = min(Tile::kBM, at.row_end - at.row);
      with_eights<1, Tile::kBM / 8>((rows + 7) / 8, [&](auto eights) {
        float sums[eights.value][4];
        multiply_tile<eights.value, Tile, kLayout, T>(sums, reader, ring, place, p.depth, rows);
        epilogue(sums, at, rows);
      });
    }
  }
}

}  // namespace yamoe
