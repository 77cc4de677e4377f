// E4M3 weights as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// E4M3 numbers with f32 scales: the product of a number and its scale is rounded to f32 and then to T.
//
// kScales: 64, a scale for each row of a block; or 2, one for its even rows and one for its odd rows, which are gates and up
// values. Two more floats then pad the block to a multiple of 16 bytes.
//
// A thread has two words for each wgmma: byte 2 (r % 2) + half of word r / 2 is the value for a half of register r. The words
// of the first two wgmmas of all threads come before those of the others.
template <class T_, int kScales>
struct Fp8 {
  using T = T_;
  static constexpr int kValueBytes = 4096, kBlockBytes = kValueBytes + (kScales == 2 ? 4 : kScales) * 4;

  struct Packed {
    uint4 values[2];
    uint2 scales;  // of the thread's two rows
  };
  static __device__ __forceinline__ Packed load(uint32_t block) {
    const int thread = threadIdx.x % 128;
    return {{load_shared_16(block + thread * 16), load_shared_16(block + 2048 + thread * 16)},
            load_shared_8(block + kValueBytes + (kScales == 2 ? 0 : thread / 4 * 8))};
  }

  // Decodes the operand of wgmma c.
  static __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) {
    const uint4& four = packed.values[c / 2];
    const uint32_t words[2] = {c % 2 ? four.z : four.x, c % 2 ? four.w : four.y};
    const float scales[2] = {__uint_as_float(packed.scales.x), __uint_as_float(packed.scales.y)};
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t pair = widen_e4m3_pair(static_cast<uint16_t>(words[r / 2] >> r % 2 * 16));
      const float2 v = widen_f16_pair(pair);
      out[r] = pack2<T>(__fmul_rn(v.x, scales[r % 2]), __fmul_rn(v.y, scales[r % 2]));
    }
  }
};

#endif

}  // namespace yamoe
