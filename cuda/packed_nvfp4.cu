// The kernels that lay out NVFP4 weights in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_e2m1.cuh"
#include "packed_nvfp4.cuh"

namespace yamoe {

struct Nvfp4BlocksArguments {
  const unsigned char* values;  // [experts][width][depth / 2], the first of two values in the low bits
  const unsigned char* scales;  // [experts][width][depth / 16]
  const float* global_scales;   // [experts][globals]
  unsigned char* blocks;
  int width, depth;
  int half;                  // see source_row
  int block_bytes, variant;  // see packed_nvfp4.cuh
  int globals;               // of an expert: 1, or 2, the first for the first half of its rows
};

struct Nvfp4Decoder {
  using Format = Nvfp4<__nv_bfloat16>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const unsigned char* const scales = block + Format::kValueBytes;
    const float scale = widen_f16_pair(widen_e4m3_pair(scales[thread / 4 * 8 + c * 2 + r % 2])).x;
    const float global = reinterpret_cast<const float*>(block + Format::kGlobals)[(p.variant ? thread / 4 * 2 : 0) + r % 2];
    return __fmul_rn(e2m1_of<Format::Numbers>(block, thread, c, r, half), __fmul_rn(scale, global / Format::kFactor));
  }
};

}  // namespace yamoe

// As mxfp4_blocks.
extern "C" __global__ void __launch_bounds__(128) nvfp4_blocks(const yamoe::Nvfp4BlocksArguments p) {
  using namespace yamoe;
  using Format = Nvfp4<__nv_bfloat16>;
  wait_for_previous_kernel();
  allow_next_kernel();
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * p.block_bytes;
  lay_out_e2m1<Format::Numbers>(block, p.values, at, p.width, p.depth, p.half);
  const int thread = threadIdx.x;
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
    scale = p.global_scales[at.expert * p.globals + second] * Format::kFactor;
  }
  reinterpret_cast<float*>(block + Format::kGlobals)[thread] = scale;
}

// As mxfp4_decode.
extern "C" __global__ void __launch_bounds__(128) nvfp4_decode(const yamoe::DecodeArguments arguments) {
  yamoe::wait_for_previous_kernel();
  yamoe::allow_next_kernel();
  yamoe::decode_blocks<yamoe::Nvfp4Decoder>(arguments);
}
#endif
