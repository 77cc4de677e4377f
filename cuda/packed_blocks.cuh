// What the kernels that lay out and decode blocks of weights share: see packed_format.cuh.
#pragma once
#include "dtype.cuh"
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The base of the arguments that lay out a format.
struct BlocksArguments {
  const unsigned char* values;  // of four bits: [experts][width][depth / 2], the first of two in the low bits; or of eight
  unsigned char* blocks;
  int width, depth;
  int half;                  // 0, or the distance of a gate row and its up row, which become rows 2 n and 2 n + 1
  int block_bytes, variant;  // see the file of the format
};

struct DecodeArguments {
  const unsigned char* blocks;
  void* out;  // [experts][width][depth]
  int width, depth;
  int half;  // see BlocksArguments
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

// The row in an expert's matrix of a row of the blocks. `half`: see BlocksArguments.
__device__ __forceinline__ int source_row(int row, int half) { return half ? row % 2 * half + row / 2 : row; }

// Calls use(c, r, half, row, k) for each of a thread's values: those for both halves of each register r of each wgmma c. `row`
// counts the rows of all experts in the tensor. Missing rows and columns are omitted.
template <class Arguments, class Use>
__device__ __forceinline__ void for_each_value(const Arguments& p, const Use& use) {
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  for (int i = 0; i < 32; ++i) {
    const int c = i / 8, r = i / 2 % 4, half = i % 2;
    const FragmentPosition position = fragment_position(threadIdx.x, c, r, half);
    const int row = at.strip * kBlockRows + position.row, k = at.step * kBlockDepth + position.depth;
    if (row >= p.width || k >= p.depth) continue;
    use(c, r, half, static_cast<size_t>(at.expert) * p.width + source_row(row, p.half), k);
  }
}

// The number of four bits of row `row` and column `k`.
__device__ __forceinline__ int number_of(const BlocksArguments& p, size_t row, int k) {
  const int pair = p.values[row * (p.depth / 2) + k / 2];
  return k % 2 ? pair >> 4 : pair & 15;
}

// Writes the weights of a block as elements of a dense tensor. Decoder::value(block, arguments, thread, c, r, half) is the
// value for a half of register r of wgmma c.
template <class Decoder>
__device__ __forceinline__ void decode_blocks(const DecodeArguments& p) {
  follow_previous_kernel();
  const unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * p.block_bytes;
  for_each_value(p, [&](int c, int r, int half, size_t row, int k) {
    store_as(p.out, row * p.depth + k, Decoder::value(block, p, threadIdx.x, c, r, half), p.dtype);
  });
}

#endif

}  // namespace yamoe

// The kernels of a format, with a block of 128 threads for each block of weights: NAME_blocks lays out weights with
// lay_out(block, arguments, position, thread), and NAME_decode writes them as a dense tensor.
#define YAMOE_BLOCKS(name, Format)                                                                                   \
  extern "C" __global__ void __launch_bounds__(128) name##_blocks(const yamoe::Format##BlocksArguments p) {          \
    yamoe::follow_previous_kernel();                                                                                 \
    unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * p.block_bytes;                         \
    yamoe::lay_out(block, p, yamoe::block_position(blockIdx.x, p.width, p.depth), static_cast<int>(threadIdx.x));    \
  }                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(128) name##_decode(const yamoe::DecodeArguments p) {                  \
    yamoe::decode_blocks<yamoe::Format##Decoder>(p);                                                                 \
  }
