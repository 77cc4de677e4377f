// How a warp of stream_gemm.cuh multiplies a tile in the ring.
#pragma once
#include <type_traits>

#include "boxes.cuh"

namespace yamoe {

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

// A warp's operands of mma.sync for a box, as they are read from the ring: the weights and the input.
template <int kEights>
struct Operands {
  uint32_t weights[4][4], rows[kEights][2][4];

  // `row` is the address of the lane's first row of the input, and `last` that of its row in the last eight. kPartial: the
  // input ends after `deep` elements. The weights beyond are zeros; the input's must be too.
  template <bool kPartial, class Tile, WeightLayout kLayout>
  __device__ __forceinline__ void read(const WeightReader<kLayout>& reader, uint32_t box, uint32_t row, uint32_t last,
                                       int deep) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int chunk = half * 4 + static_cast<int>(threadIdx.x % 32) / 8, chunks = deep / kChunk;
      const uint32_t own = (kPartial ? min(chunk, chunks - 1) : chunk) * 16;
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        uint32_t(&b)[4] = rows[j][half];
        ldmatrix_x4(b, (j < kEights - 1 ? row + j * 8 * Tile::kRowBytes : last) + own);
        if constexpr (kPartial) {
#pragma unroll
          for (int i = 0; i < 4; ++i) b[i] = half * 4 + i < chunks ? b[i] : 0;
        }
      }
#pragma unroll
      for (int quarter = 0; quarter < 2; ++quarter) {
        reader.read(weights[half * 2 + quarter], box, half * 2 + quarter);
      }
    }
  }

  // Adds their product to the sums.
  template <class T>
  __device__ __forceinline__ void multiply(float (&sums)[kEights][4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        const uint32_t columns[2] = {rows[j][i / 2][i % 2 * 2], rows[j][i / 2][i % 2 * 2 + 1]};
        mma_m16n8k16<T>(sums[j], weights[i], columns);
      }
    }
  }
};

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
    const uint32_t stage = ring + place.stage * Tile::kWeightBytes;
    const uint32_t input = ring + Tile::kRows + place.stage * Tile::kBM * Tile::kRowBytes;
    const auto read = [&](auto& operands, auto partial, int box, int deep) {
      const uint32_t first = input + box * Tile::kBoxDepth * 2;
      operands.template read<partial.value, Tile>(weights, stage + box * Tile::kBoxBytes,
                                                  first + eight * Tile::kRowBytes, first + last_row * Tile::kRowBytes,
                                                  deep);
    };
    // The arrival alone does not wait for what ldmatrix has loaded: ptxas puts it before the last loads, and the next bulk copy to
    // the stage may be faster than they are. The fence waits for them.
    const auto release = [&] {
      fence_async_proxy();
      __syncwarp();
      if (lane == 0) mbarrier_arrive(ring + Tile::kEmpty + place.stage * 8);
    };
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
    if (depth - k >= Tile::kBK) {  // the stage is free before its product is complete
      Operands<kEights> operands[Tile::kBoxes];
#pragma unroll
      for (int b = 0; b < Tile::kBoxes; ++b) read(operands[b], std::false_type{}, b, Tile::kBoxDepth);
      release();
#pragma unroll
      for (int b = 0; b < Tile::kBoxes; ++b) operands[b].template multiply<T>(sums);
    } else {
#pragma unroll 1
      for (int b = 0; b * Tile::kBoxDepth < depth - k; ++b) {
        Operands<kEights> operands;
        read(operands, std::true_type{}, b, min(Tile::kBoxDepth, depth - k - b * Tile::kBoxDepth));
        operands.template multiply<T>(sums);
      }
      release();
    }
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

}  // namespace yamoe
