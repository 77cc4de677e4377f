// E4M3 weights as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// E4M3 numbers with f32 scales: the product of a number and its scale is rounded to f32 and then to T.
//
// A thread has two words for each wgmma: byte 2 (r % 2) + half of word r / 2 is the value for a half of register r. The words
// of the first two wgmmas of all threads come before those of the others. The scales follow: one for the even rows, which are
// gates, one for the odd rows, which are up values, and padding; or, if the variant is 1, one for each row.
template <class T_>
struct Fp8 {
  using T = T_;
  static constexpr int kRegisters = 10;
  static constexpr int kValueBytes = 4096, kBlockBytes = kValueBytes + kBlockRows * 4;

  struct Packed {
    uint4 values[2];
    uint2 scales;  // of the thread's two rows
  };

  __device__ __forceinline__ explicit Fp8(int variant)
      : scales_(kValueBytes + (variant ? threadIdx.x % 128 / 4 * 8 : 0)) {}
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    use(Fp8(variant));
  }

  __device__ __forceinline__ Packed load(uint32_t block) const {
    const uint32_t own = block + threadIdx.x % 128 * 16;
    return {{load_shared_16(own), load_shared_16(own + 2048)}, load_shared_8(block + scales_)};
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const uint4& four = packed.values[c / 2];
    const uint32_t words[2] = {c % 2 ? four.z : four.x, c % 2 ? four.w : four.y};
    const float scales[2] = {__uint_as_float(packed.scales.x), __uint_as_float(packed.scales.y)};
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float2 v = widen_f16_pair(widen_e4m3_pair(static_cast<uint16_t>(words[r / 2] >> r % 2 * 16)));
      out[r] = pack2<T>(__fmul_rn(v.x, scales[r % 2]), __fmul_rn(v.y, scales[r % 2]));
    }
  }

 private:
  uint32_t scales_;  // their offset in a block
};

#endif

}  // namespace yamoe
