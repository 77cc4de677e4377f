// The kernels that lay out integers of four bits in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_blocks.cuh"
#include "packed_int4.cuh"

namespace yamoe {

struct Int4BlocksArguments {
  const unsigned char* values;       // [experts][width][depth / 2], the first of two values in the low bits
  const uint16_t* scales;            // [experts][width][depth / group]
  const unsigned char* zero_points;  // likewise, or null: 8
  unsigned char* blocks;
  int width, depth;
  int half;                  // see source_row
  int block_bytes, variant;  // see packed_int4.cuh
  int group;                 // columns that share a scale
  int sign_bit;              // 8 if the numbers are in two's complement, or 0
};

struct Int4Decoder {
  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const uint32_t word = reinterpret_cast<const uint32_t*>(block)[thread * 4 + c];
    const int number = static_cast<int>(word >> (r * 4 + half * 16) & 15);
    const int groups = p.variant & kTwoGroups ? 2 : 1, i = (thread / 4 * groups + c / 2 % groups) * 2 + r % 2;
    const unsigned char* const scales = block + Int4<__half>::kValueBytes;
    const int zero = p.variant & kZeroPoints ? scales[kBlockRows * 2 * groups + i] : 8;
    return __fmul_rn(static_cast<float>(number - zero), load_as(scales, i, p.variant & kF16Scales ? kF16 : kBF16));
  }
};

}  // namespace yamoe

// As mxfp4_blocks.
extern "C" __global__ void __launch_bounds__(128) int4_blocks(const yamoe::Int4BlocksArguments p) {
  using namespace yamoe;
  wait_for_previous_kernel();
  allow_next_kernel();
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * p.block_bytes;
  const size_t first_row = static_cast<size_t>(at.expert) * p.width;
  uint32_t words[4] = {};
  for (int i = 0; i < 32; ++i) {
    const int c = i / 8, r = i / 2 % 4, half = i % 2;
    const FragmentPosition from = fragment_position(threadIdx.x, c, r, half);
    const int row = at.strip * kBlockRows + from.row, k = at.step * kBlockDepth + from.depth;
    if (row >= p.width || k >= p.depth) continue;
    const int pair = p.values[(first_row + source_row(row, p.half)) * (p.depth / 2) + k / 2];
    words[c] |= static_cast<uint32_t>((k % 2 ? pair >> 4 : pair & 15) ^ p.sign_bit) << (r * 4 + half * 16);
  }
  reinterpret_cast<uint4*>(block)[threadIdx.x] = make_uint4(words[0], words[1], words[2], words[3]);

  // A thread has the scales of two rows.
  const int groups = p.variant & kTwoGroups ? 2 : 1, i = threadIdx.x;
  if (i >= kBlockRows / 2 * groups) return;
  const int row = at.strip * kBlockRows + i / groups * 2;
  const int k = at.step * kBlockDepth + i % groups * (kBlockDepth / groups);
  uint32_t scales = 0, zeros = 0;
  for (int r = 0; r < 2; ++r) {
    if (row + r >= p.width || k >= p.depth) continue;
    const size_t source = (first_row + source_row(row + r, p.half)) * (p.depth / p.group) + k / p.group;
    scales |= static_cast<uint32_t>(p.scales[source]) << r * 16;
    if (p.zero_points) zeros |= static_cast<uint32_t>(p.zero_points[source]) << r * 8;
  }
  uint32_t* const to = reinterpret_cast<uint32_t*>(block + Int4<__half>::kValueBytes);
  to[i] = scales;
  if (p.zero_points) reinterpret_cast<uint16_t*>(to + kBlockRows / 2 * groups)[i] = static_cast<uint16_t>(zeros);
}

// As mxfp4_decode.
extern "C" __global__ void __launch_bounds__(128) int4_decode(const yamoe::DecodeArguments arguments) {
  yamoe::wait_for_previous_kernel();
  yamoe::allow_next_kernel();
  yamoe::decode_blocks<yamoe::Int4Decoder>(arguments);
}
#endif
