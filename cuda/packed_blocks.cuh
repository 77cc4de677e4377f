// What the kernels that lay out and decode blocks of weights share: see packed_format.cuh.
#pragma once
#include "dtype.cuh"
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct DecodeArguments {
  const unsigned char* blocks;
  void* out;  // [experts][width][depth]
  int width, depth;
  int half;  // see source_row
  int block_bytes, variant, dtype;
};

// The block of weights of a thread block, in the order of memory.
struct BlockPosition {
  int expert, strip, step;
};
__device__ __forceinline__ BlockPosition block_position(int index, int width, int depth) {
  const int groups = ceil_div(width, kStrips * kBlockRows), steps = ceil_div(depth, kBlockDepth);
  const int group = index / kStrips / steps;
  return {group / groups, group % groups * kStrips + index % kStrips, index / kStrips % steps};
}

// The row in a tensor of a row of a block. `half`: 0, or the distance of a gate row and its up row, which become rows 2 n
// and 2 n + 1.
__device__ __forceinline__ int source_row(int row, int half) { return half ? row % 2 * half + row / 2 : row; }

// Writes the weights of a block as elements of a dense tensor. Decoder::value(block, arguments, thread, c, r, half) is the
// value for a half of register r of wgmma c.
template <class Decoder>
__device__ __forceinline__ void decode_blocks(const DecodeArguments& p) {
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  const unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * p.block_bytes;
  for (int i = 0; i < 32; ++i) {
    const int c = i / 8, r = i / 2 % 4, half = i % 2;
    const FragmentPosition to = fragment_position(threadIdx.x, c, r, half);
    const int row = at.strip * kBlockRows + to.row, k = at.step * kBlockDepth + to.depth;
    if (row >= p.width || k >= p.depth) continue;
    const size_t index = (static_cast<size_t>(at.expert) * p.width + source_row(row, p.half)) * p.depth + k;
    store_as(p.out, index, Decoder::value(block, p, threadIdx.x, c, r, half), p.dtype);
  }
}

#endif

}  // namespace yamoe
