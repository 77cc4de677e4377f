// The kernels that lay out MXFP4 weights in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_e2m1.cuh"

namespace yamoe {

struct Mxfp4BlocksArguments : BlocksArguments {
  const unsigned char* scales;  // [experts][width][depth / 32]
};

struct Mxfp4Decoder {
  using Format = Mxfp4<__nv_bfloat16>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments&, int thread, int c,
                                                int r, int half) {
    const int scale = block[Format::kValueBytes + thread / 4 * 4 + c / 2 * 2 + r % 2];
    return ldexpf(e2m1_of<Format>(block, thread, c, r, half), scale - 127);
  }
};

// Lays out a block.
__device__ __forceinline__ void lay_out(unsigned char* block, const Mxfp4BlocksArguments& p, const BlockPosition& at,
                                        int thread) {
  lay_out_e2m1<Mxfp4<__nv_bfloat16>>(block, p);
  if (thread >= kBlockRows / 2) return;
  uint32_t scales = 0;  // of two rows and two groups of columns
  for (int i = 0; i < 4; ++i) {
    const int row = at.strip * kBlockRows + thread * 2 + i % 2, group = at.step * 2 + i / 2;
    if (row >= p.width || group >= p.depth / 32) continue;
    const size_t source = static_cast<size_t>(at.expert) * p.width + source_row(row, p.half);
    scales |= static_cast<uint32_t>(p.scales[source * (p.depth / 32) + group]) << i * 8;
  }
  reinterpret_cast<uint32_t*>(block + Mxfp4<__half>::kValueBytes)[thread] = scales;
}

}  // namespace yamoe

YAMOE_BLOCKS(mxfp4, Mxfp4)
#endif
