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
  int half;         // see source_row
  int group;        // columns that share a scale
  int signed_bits;  // 8 if the numbers are in two's complement, or 0
};

template <int kGroups, bool kZeros>
__device__ __forceinline__ void lay_out_int4(const Int4BlocksArguments& p) {
  using Format = Int4<__nv_bfloat16, kGroups, kZeros>;
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * Format::kBlockBytes;
  const int thread = threadIdx.x;
  const size_t first_row = static_cast<size_t>(at.expert) * p.width;
  uint32_t words[4] = {};
  for (int i = 0; i < 32; ++i) {
    const int c = i / 8, r = i / 2 % 4, half = i % 2;
    const FragmentPosition from = fragment_position(thread, c, r, half);
    const int row = at.strip * kBlockRows + from.row, k = at.step * kBlockDepth + from.depth;
    if (row >= p.width || k >= p.depth) continue;
    const int pair = p.values[(first_row + source_row(row, p.half)) * (p.depth / 2) + k / 2];
    const int value = (k % 2 ? pair >> 4 : pair & 15) ^ p.signed_bits;
    words[c] |= static_cast<uint32_t>(value) << (r * 4 + half * 16);
  }
  reinterpret_cast<uint4*>(block)[thread] = make_uint4(words[0], words[1], words[2], words[3]);
  uint16_t* const scales = reinterpret_cast<uint16_t*>(block + Format::kValueBytes);
  for (int i = thread; i < kBlockRows * kGroups; i += 128) {
    const int row = at.strip * kBlockRows + i / (2 * kGroups) * 2 + i % 2;
    const int k = at.step * kBlockDepth + i / 2 % kGroups * (kBlockDepth / kGroups);
    const bool exists = row < p.width && k < p.depth;
    const size_t source = exists ? (first_row + source_row(row, p.half)) * (p.depth / p.group) + k / p.group : 0;
    scales[i] = exists ? p.scales[source] : 0;
    if (kZeros) block[Format::kValueBytes + Format::kScaleBytes + i] = exists ? p.zero_points[source] : 0;
  }
}

template <int kGroups, bool kZeros>
struct Int4Decoder {
  using Format = Int4<__nv_bfloat16, kGroups, kZeros>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const uint32_t word = reinterpret_cast<const uint32_t*>(block)[thread * 4 + c];
    const int number = static_cast<int>(word >> (r * 4 + half * 16) & 15);
    const int i = thread / 4 * 2 * kGroups + (kGroups == 2 ? c / 2 * 2 : 0) + r % 2;
    const int zero = kZeros ? block[Format::kValueBytes + Format::kScaleBytes + i] : 8;
    return static_cast<float>(number - zero) * load_as(block + Format::kValueBytes, i, p.scale_dtype);
  }
};

}  // namespace yamoe

// As mxfp4_blocks and mxfp4_decode. _32: with two scales for each row of a block. _zeros: with zero points.
#define YAMOE_INT4(kind, kGroups, kZeros)                                                                       \
  extern "C" __global__ void __launch_bounds__(128) kind##_blocks(const yamoe::Int4BlocksArguments arguments) { \
    yamoe::wait_for_previous_kernel();                                                                          \
    yamoe::allow_next_kernel();                                                                                 \
    yamoe::lay_out_int4<kGroups, kZeros>(arguments);                                                            \
  }                                                                                                             \
  extern "C" __global__ void __launch_bounds__(128) kind##_decode(const yamoe::DecodeArguments arguments) {     \
    yamoe::wait_for_previous_kernel();                                                                          \
    yamoe::allow_next_kernel();                                                                                 \
    yamoe::decode_blocks<yamoe::Int4Decoder<kGroups, kZeros>>(arguments);                                       \
  }

YAMOE_INT4(int4, 1, false)
YAMOE_INT4(int4_zeros, 1, true)
YAMOE_INT4(int4_32, 2, false)
YAMOE_INT4(int4_32_zeros, 2, true)
#endif
