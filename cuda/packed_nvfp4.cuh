// NVFP4 weights as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// E2M1 numbers with an E4M3 scale for each 16 columns of a row, and an f32 scale for all. A weight is number (scale · global
// scale): each product is rounded to f32, and the result to T.
//
// A block has the values; the scales, the eight of two neighbouring rows one after the other, each two for the same columns;
// and the global scales: one for the even rows, which are gates, one for the odd rows, which are up values, and two floats of
// padding; or, if the variant is 1, one for each row. The bits of the values are stored as those of MXFP4, so spread_word gives
// bf16 numbers that are 2^-126 too small.
//
// Each lane computes s = scale · global scale of its two rows for 16 of the 64 columns. The four lanes with the same rows
// exchange the results. s must be 0, or at least 2^-118 and below 2 in magnitude: then 2^126 s is finite, and no product of it and a
// number is subnormal.
//
// With bf16, pairs are multiplied without widening them. A number is 2^e or 1.5 · 2^e, so with a = bf16(s) and
// b = bf16(f32(1.5 s)) the weight is 2^e a or 2^e b. It is also number · a + number · r, rounded once. Here r is 0 if b = 1.5 a,
// or else 13/32 of a's last place, with the sign of b - 1.5 a: this is enough to round 1.5 a to b, and too little to change a.
// The product of r and a number is exact.
template <class T_>
struct Nvfp4 {
  using T = T_;
  using Numbers = Mxfp4<__nv_bfloat16>;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr int kRegisters = 7;  // with the exchange of scales
  static constexpr float kFactor = 1.0f;
  static constexpr int kVariantBytes = 0;
  static constexpr bool kUnrolled = !kHalf, kHasRowScales = false;
  static constexpr int kValueBytes = 2048, kScaleBytes = kBlockRows * 4, kGlobals = kValueBytes + kScaleBytes;  // their offset
  static constexpr int kBlockBytes = kGlobals + kBlockRows * 4;

  // The scales are those of the lane's two rows for the columns of wgmma threadIdx.x % 4. With f16: 2^126 s of each row. With
  // bf16: 2^126 a of both rows, and 2^126 r.
  struct Packed {
    uint4 values;
    uint32_t scales[2];
  };

  __device__ __forceinline__ explicit Nvfp4(int variant)
      : globals_(kGlobals + (variant ? threadIdx.x % 128 / 4 * 8 : 0)) {}
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    use(Nvfp4(variant));
  }

  __device__ __forceinline__ void load(uint32_t block, Packed& packed) const {
    const int thread = threadIdx.x % 128;
    const float2 own = widen_f16_pair(widen_e4m3_pair(load_shared_2(block + kValueBytes + thread * 2)));
    const uint2 globals = load_shared_8(block + globals_);
    const float x = __fmul_rn(own.x, __uint_as_float(globals.x)), y = __fmul_rn(own.y, __uint_as_float(globals.y));
    packed.values = load_shared_16(block + thread * 16);
    if constexpr (kHalf) {
      packed.scales[0] = __float_as_uint(__fmul_rn(x, 0x1p126f));
      packed.scales[1] = __float_as_uint(__fmul_rn(y, 0x1p126f));
    } else {
      const uint32_t a = pack2<T>(x, y), b = pack2<T>(__fmul_rn(1.5f, x), __fmul_rn(1.5f, y));
      const uint32_t limit = multiply_pairs<T>(a & kExponents, kPart);
      const uint32_t r = clamp_pairs<T>(multiply_add_pairs<T>(a, kMinusOneAndHalf, b), limit);
      packed.scales[0] = multiply_pairs<T>(a, kPower);
      packed.scales[1] = multiply_pairs<T>(r, kPower);
    }
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const uint32_t first = __shfl_sync(0xffffffffu, packed.scales[0], c, 4);
    const uint32_t second = __shfl_sync(0xffffffffu, packed.scales[1], c, 4);
    Numbers::spread_word(word_of(packed.values, c), out);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if constexpr (kHalf) {
        const float2 v = unpack2<__nv_bfloat16>(out[r]);
        const float scale = __uint_as_float(r % 2 ? second : first);
        out[r] = pack2<T>(__fmul_rn(v.x, scale), __fmul_rn(v.y, scale));
      } else {
        const uint32_t rest = multiply_pairs<T>(out[r], repeat_half(second, r % 2));
        out[r] = multiply_add_pairs<T>(out[r], repeat_half(first, r % 2), rest);
      }
    }
  }

 private:
  // Pairs of bf16: the bits of the exponents, -1.5, 13/32 · 2^-7 and 2^126.
  static constexpr uint32_t kExponents = 0x7f807f80, kMinusOneAndHalf = 0xbfc0bfc0, kPart = 0x3b503b50, kPower = 0x7e807e80;

  uint32_t globals_;  // offset in a block
};

#endif

}  // namespace yamoe
