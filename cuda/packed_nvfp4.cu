// The kernels that lay out NVFP4 weights in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_e2m1.cuh"
#include "packed_nvfp4.cuh"

namespace yamoe {

struct Nvfp4BlocksArguments : BlocksArguments {
  const unsigned char* scales;  // [experts][width][depth / 16]
  const float* global_scales;   // [experts][globals]
  int globals;                  // of an expert: 1, or 2, the first for the first half of its rows
};

struct Nvfp4Decoder {
  using Format = Nvfp4<__nv_bfloat16>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const unsigned char* const scales = block + Format::kValueBytes;
    const float scale = widen_f16_pair(widen_e4m3_pair(scales[thread / 4 * 8 + c * 2 + r % 2])).x;
    const float global = reinterpret_cast<const float*>(block + Format::kGlobals)[(p.variant ? thread / 4 * 2 : 0) + r % 2];
    return __fmul_rn(e2m1_of<Format::Numbers>(block, thread, c, r, half), __fmul_rn(scale, global));
  }
};

// Lays out a block.
__device__ __forceinline__ void lay_out(unsigned char* block, const Nvfp4BlocksArguments& p, const BlockPosition& at,
                                        int thread) {
  using Format = Nvfp4<__nv_bfloat16>;
  lay_out_e2m1<Format::Numbers>(block, p);
  uint32_t scales = 0;  // of two rows
  for (int r = 0; r < 2; ++r) {
    const int row = at.strip * kBlockRows + thread / 4 * 2 + r, group = at.step * 4 + thread % 4;
    if (row >= p.width || group >= p.depth / 16) continue;
    const size_t source = static_cast<size_t>(at.expert) * p.width + source_row(row, p.half);
    scales |= static_cast<uint32_t>(p.scales[source * (p.depth / 16) + group]) << r * 8;
  }
  reinterpret_cast<uint16_t*>(block + Format::kValueBytes)[thread] = static_cast<uint16_t>(scales);

  if (thread >= (p.block_bytes - Format::kGlobals) / 4) return;
  const int row = at.strip * kBlockRows + thread;
  float scale = 0.0f;
  if (thread < (p.variant ? kBlockRows : 2) && row < p.width) {
    const int second = p.globals == 2 && source_row(row, p.half) >= p.width / 2;
    scale = p.global_scales[at.expert * p.globals + second];
  }
  reinterpret_cast<float*>(block + Format::kGlobals)[thread] = scale;
}

}  // namespace yamoe

YAMOE_BLOCKS(nvfp4, Nvfp4)
#endif
