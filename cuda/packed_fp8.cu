// The kernels that lay out E4M3 weights in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_blocks.cuh"
#include "packed_fp8.cuh"

namespace yamoe {

constexpr int kE8M0 = 3;  // a dtype of scales, beside those of codes.cuh

struct Fp8BlocksArguments : BlocksArguments {
  const void* scales;  // [experts][bands][runs]: one for each band_rows rows and run_columns columns
  int scale_dtype, band_rows, run_columns;
};

__device__ __forceinline__ float load_scale(const void* scales, size_t at, int dtype) {
  if (dtype == kE8M0) return ldexpf(1.0f, static_cast<const unsigned char*>(scales)[at] - 127);
  return load_as(scales, at, dtype);
}

// The value of an E4M3 number.
__device__ __forceinline__ float widen_e4m3(int bits) {
  return widen_f16_pair(widen_e4m3_pair(static_cast<uint16_t>(bits))).x;
}

struct Fp8Decoder {
  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const int byte = c / 2 * 2048 + thread * 16 + c % 2 * 8 + r / 2 * 4 + r % 2 * 2 + half;
    const float* const scales = reinterpret_cast<const float*>(block + Fp8<__half>::kValueBytes);
    return __fmul_rn(widen_e4m3(block[byte]), scales[(p.variant ? thread / 4 * 2 : 0) + r % 2]);
  }
};

// Lays out a block.
__device__ __forceinline__ void lay_out(unsigned char* block, const Fp8BlocksArguments& p, const BlockPosition& at,
                                        int thread) {
  uint32_t words[8] = {};
  for_each_value(p, [&](int c, int r, int half, size_t row, int k) {
    words[c * 2 + r / 2] |= static_cast<uint32_t>(p.values[row * p.depth + k]) << (r % 2 * 16 + half * 8);
  });
  uint4* const to = reinterpret_cast<uint4*>(block);
  to[thread] = make_uint4(words[0], words[1], words[2], words[3]);
  to[128 + thread] = make_uint4(words[4], words[5], words[6], words[7]);

  constexpr int kValueBytes = Fp8<__half>::kValueBytes;
  if (thread >= (p.block_bytes - kValueBytes) / 4) return;
  const int row = at.strip * kBlockRows + thread;
  float scale = 0.0f;
  if (thread < (p.variant ? kBlockRows : 2) && row < p.width) {
    const int bands = ceil_div(p.width, p.band_rows), runs = ceil_div(p.depth, p.run_columns);
    const size_t band = static_cast<size_t>(at.expert) * bands + source_row(row, p.half) / p.band_rows;
    scale = load_scale(p.scales, band * runs + at.step * kBlockDepth / p.run_columns, p.scale_dtype);
  }
  reinterpret_cast<float*>(block + kValueBytes)[thread] = scale;
}

}  // namespace yamoe

YAMOE_BLOCKS(fp8, Fp8)
#endif
