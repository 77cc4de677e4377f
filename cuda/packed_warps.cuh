// The multiplication of packed weights with the fewest rows, by mma.sync.
#pragma once
#include <utility>

#include "packed_tiles.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Clears a warpgroup's sums. ptxas wants this before the loop: see cuda/LADDER.md.
template <int kEights>
__device__ __forceinline__ void clear(float (&sums)[kEights][4]) {
#pragma unroll
  for (int j = 0; j < kEights; ++j) sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
}

// A warpgroup's sums over the whole depth: 64 weight rows by 8 kEights input rows, or fewer. Other sums are zero. A wgmma of 8 columns takes as
// long as one of 64. Missing rows are replaced by the last one. Here instructions are the limit: see cuda/LADDER.md.
//
// A ring has its Format; kDeep, the steps of a stage; the addresses of a stage's rows, weights and row scales, and of the chunks of
// eight columns in a step's rows; kRowStep, the bytes from one step's rows to the next; and release, which each thread calls when it
// has read a stage. The steps of a full stage can be unrolled.
// Then one step's loads and decoding overlap with the multiplications of the one before: see cuda/LADDER.md.
template <int kEights, int kAllEights, class Ring>
__device__ __forceinline__ void multiply_by_warps(float (&sums)[kAllEights][4], const PackedProduct& p, const Ring& ring,
                                                  PackedPlace& place, int rows) {
  const int steps = ceil_div(p.depth, kBlockDepth);
  const int lane = threadIdx.x % 32;
  uint32_t own[2][kEights];  // the lane's chunk of its row in each half of a step
#pragma unroll
  for (int j = 0; j < kEights; ++j) {
    const int row = min(j * 8 + lane % 8, rows - 1);
    own[0][j] = ring.chunk(row, lane / 8);
    own[1][j] = ring.chunk(row, lane / 8 + 4);
  }
  clear(sums);
  Ring::Format::with_variant(p.variant, [&](const auto& format) {
    using T = typename Ring::Format::T;
    using Variant = std::decay_t<decltype(format)>;
    const uint32_t block_bytes = Variant::kVariantBytes ? Variant::kVariantBytes : p.block_bytes;
    if constexpr (Variant::kHasRowScales) mbarrier_wait(ring.full(place.stage), place.round);
    auto packed = start_tile(format, ring.row_scales(place.stage, p.block_bytes));
    const auto multiply = [&](uint32_t rows_at, uint32_t block) {
      format.load(block, packed);
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        uint32_t b[kEights][4];
#pragma unroll
        for (int j = 0; j < kEights; ++j) ldmatrix_x4(b[j], own[half][j] + rows_at);
#pragma unroll
        for (int c = 0; c < 2; ++c) {
          uint32_t operand[4];
          format.decode(packed, half * 2 + c, operand);
#pragma unroll
          for (int j = 0; j < kEights; ++j) {
            const uint32_t columns[2] = {b[j][c * 2], b[j][c * 2 + 1]};
            mma_m16n8k16<T>(sums[j], operand, columns);
          }
        }
      }
    };
#pragma unroll 1
    for (int left = steps; left > 0; left -= Ring::kDeep) {
      mbarrier_wait(ring.full(place.stage), place.round);
      const uint32_t rows_at = ring.rows(place.stage), blocks = ring.weights(place.stage);
      if (Variant::kUnrolled && left >= Ring::kDeep) {
#pragma unroll
        for (int i = 0; i < Ring::kDeep; ++i) multiply(rows_at + i * Ring::kRowStep, blocks + i * block_bytes);
      } else {
#pragma unroll 1
        for (int i = 0; i < min(left, Ring::kDeep); ++i) multiply(rows_at + i * Ring::kRowStep, blocks + i * block_bytes);
      }
      ring.release(place.stage);
      place.next(ring.stages);
    }
    if constexpr (Variant::kFactor != 1.0f) {
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
#pragma unroll
        for (float& sum : sums[j]) sum = __fmul_rn(sum, Variant::kFactor);
      }
    }
  });
}

#endif

}  // namespace yamoe
