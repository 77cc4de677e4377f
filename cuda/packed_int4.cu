// The kernels that lay out integers of four bits in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_blocks.cuh"
#include "packed_int4.cuh"

namespace yamoe {

struct Int4BlocksArguments : BlocksArguments {
  const uint16_t* scales;            // [experts][width][depth / group]
  const unsigned char* zero_points;  // likewise, or null: 8
  int group;                         // columns that share a scale
  int sign_bit;                      // 8 if the numbers are in two's complement, or 0
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

// Lays out a block.
__device__ __forceinline__ void lay_out(unsigned char* block, const Int4BlocksArguments& p, const BlockPosition& at,
                                        int thread) {
  uint32_t words[4] = {};
  for_each_value(p, [&](int c, int r, int half, size_t row, int k) {
    words[c] |= static_cast<uint32_t>(number_of(p, row, k) ^ p.sign_bit) << (r * 4 + half * 16);
  });
  reinterpret_cast<uint4*>(block)[thread] = make_uint4(words[0], words[1], words[2], words[3]);

  // A thread has the scales of two rows.
  const int groups = p.variant & kTwoGroups ? 2 : 1;
  if (thread >= kBlockRows / 2 * groups) return;
  const int row = at.strip * kBlockRows + thread / groups * 2;
  const int k = at.step * kBlockDepth + thread % groups * (kBlockDepth / groups);
  uint32_t scales = 0, zeros = 0;
  for (int r = 0; r < 2; ++r) {
    if (row + r >= p.width || k >= p.depth) continue;
    const size_t own = static_cast<size_t>(at.expert) * p.width + source_row(row + r, p.half);
    const size_t source = own * (p.depth / p.group) + k / p.group;
    scales |= static_cast<uint32_t>(p.scales[source]) << r * 16;
    if (p.zero_points) zeros |= static_cast<uint32_t>(p.zero_points[source]) << r * 8;
  }
  uint32_t* const to = reinterpret_cast<uint32_t*>(block + Int4<__half>::kValueBytes);
  to[thread] = scales;
  if (p.zero_points) reinterpret_cast<uint16_t*>(to + kBlockRows / 2 * groups)[thread] = static_cast<uint16_t>(zeros);
}

}  // namespace yamoe

YAMOE_BLOCKS(int4, Int4)
#endif
