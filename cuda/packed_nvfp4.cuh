// NVFP4 weights as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Pairs of E2M1 numbers as f16: each is 2^-kBias too small. A word has the eight values of a thread for one wgmma. The
// positions of their bits take few logical instructions: the shifts to the left are multiplications.
struct SpreadE2m1 {
  static constexpr int kBias = 14;

  // Moves the values of a word to four registers.
  static __device__ __forceinline__ void spread_word(uint32_t q, uint32_t* out) {
    constexpr uint32_t kSign = 0x80008000, kMagnitude = 0x0e000e00;
    out[0] = q & (kSign | kMagnitude);
    out[1] = q << 9 & (kSign | kMagnitude);
    out[2] = (q << 8 & kSign) | (q << 6 & kMagnitude);
    out[3] = (q << 7 & kSign) | (q >> 3 & kMagnitude);
  }

  // Where bit b of the value for a half of register r is in a word (3: sign, 2 and 1: exponent, 0: mantissa).
  static __host__ __device__ constexpr int bit_position(int r, int half, int b) {
    if (b == 3) return half * 16 + (r == 0 ? 15 : r + 5);
    return half * 16 + (r == 0 ? 9 : r == 1 ? 0 : r == 2 ? 3 : 12) + b;
  }
};

// E2M1 numbers with an E4M3 scale for each 16 columns of a row, and an f32 scale for all. A weight is number (scale · global
// scale): each product is rounded to f32, and the result to T.
//
// A block has the values; the scales, the eight of two neighbouring rows one after the other, each two for the same columns;
// and the global scales: one for the even rows, which are gates, one for the odd rows, which are up values, and two floats of
// padding; or, if the variant is 1, one for each row. The global scales are 2^kBias greater, because the numbers are 2^-kBias
// too small.
template <class T_>
struct Nvfp4 {
  using T = T_;
  using Numbers = SpreadE2m1;
  static constexpr int kRegisters = 8;
  static constexpr int kValueBytes = 2048, kScaleBytes = kBlockRows * 4, kGlobals = kValueBytes + kScaleBytes;  // their offset
  static constexpr int kBlockBytes = kGlobals + kBlockRows * 4;
  static constexpr float kFactor = 1 << Numbers::kBias;

  struct Packed {
    uint4 values;
    uint2 scales, global_scales;
  };

  __device__ __forceinline__ explicit Nvfp4(int variant)
      : globals_(kGlobals + (variant ? threadIdx.x % 128 / 4 * 8 : 0)) {}
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    use(Nvfp4(variant));
  }

  __device__ __forceinline__ Packed load(uint32_t block) const {
    const int thread = threadIdx.x % 128;
    return {load_shared_16(block + thread * 16), load_shared_8(block + kValueBytes + thread / 4 * 8),
            load_shared_8(block + globals_)};
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const uint32_t pair = (c / 2 ? packed.scales.y : packed.scales.x) >> c % 2 * 16;
    const float2 own = widen_f16_pair(widen_e4m3_pair(static_cast<uint16_t>(pair)));
    const float scales[2] = {__fmul_rn(own.x, __uint_as_float(packed.global_scales.x)),
                             __fmul_rn(own.y, __uint_as_float(packed.global_scales.y))};
    Numbers::spread_word(word_of(packed.values, c), out);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const float2 v = widen_f16_pair(out[r]);
      out[r] = pack2<T>(__fmul_rn(v.x, scales[r % 2]), __fmul_rn(v.y, scales[r % 2]));
    }
  }

 private:
  uint32_t globals_;  // offset in a block
};

#endif

}  // namespace yamoe
