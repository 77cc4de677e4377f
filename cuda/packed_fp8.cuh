// E4M3 weights as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// E4M3 numbers with f32 scales: the product of a number and its scale is rounded to f32 and then to T.
//
// A thread has two words for each wgmma: word r / 2 has the values for registers r and r + 1, those for `half` in bits 16 half to
// 16 half + 15. bit_position has the order of their bits, which makes spread_word short. The words of the first two wgmmas of
// all threads come before those of the others. If the variant is 0, the scales follow: that of the even rows, which are gates, and
// that of the odd rows, which are up values; then their pairs, and padding. If it is 1, each row has a scale of its own. These
// follow the blocks of all experts: for each three strips, the scales of their rows, and then a pair for each two rows.
//
// A pair of two scales s are two registers of bf16: 2^120 a of both rows, and 2^120 r. a is bf16(s), and r is such that
// number · a + number · r has the bits of the weight if it is rounded once, with a product number · r that is rounded to bf16.
// find_rest finds it. It exists for each s: all mantissas were tried. s must be 0, or at least 2^-64 and below 2^7 in magnitude.
template <class T_>
struct Fp8 {
  using T = T_;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr int kRegisters = 10;
  static constexpr float kFactor = 1.0f;
  static constexpr int kVariantBytes = 0;
  static constexpr bool kUnrolled = false, kHasRowScales = true;
  static constexpr int kValueBytes = 4096, kBlockBytes = kValueBytes + kRowScaleBytes;

  struct Packed {
    uint4 values[2];
    uint32_t scales[2];  // with f16: 2^120 s of the thread's two rows; with bf16: their pair
  };

  __device__ __forceinline__ explicit Fp8(int variant) : in_blocks_(variant == 0) {}
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    use(Fp8(variant));
  }

  // Where the scales or the pairs of three strips are, in bytes after the blocks.
  static __device__ __forceinline__ size_t row_scales_at(size_t group) {
    return (group * 2 + (kHalf ? 0 : 1)) * kStrips * kRowScaleBytes;
  }

  __device__ __forceinline__ void load_row_scales(uint32_t scales, Packed& packed) const {
    if (!in_blocks_) load_scales(scales + threadIdx.x % 128 / 4 * 8, packed);
  }

  __device__ __forceinline__ void load(uint32_t block, Packed& packed) const {
    const uint32_t own = block + threadIdx.x % 128 * 16;
    if (in_blocks_) load_scales(block + kValueBytes + (kHalf ? 0 : 8), packed);
    packed.values[0] = load_shared_16(own);
    packed.values[1] = load_shared_16(own + 2048);
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const uint4& four = packed.values[c / 2];
    spread_word(c % 2 ? four.z : four.x, out);
    spread_word(c % 2 ? four.w : four.y, out + 2);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      if constexpr (kHalf) {
        const float2 v = unpack2<__nv_bfloat16>(out[r]);
        const float scale = __uint_as_float(packed.scales[r % 2]);
        out[r] = pack2<T>(__fmul_rn(v.x, scale), __fmul_rn(v.y, scale));
      } else {
        const uint32_t rest = multiply_pairs<T>(out[r], repeat_half(packed.scales[1], r % 2));
        out[r] = multiply_add_pairs<T>(out[r], repeat_half(packed.scales[0], r % 2), rest);
      }
    }
  }

  // Moves the values of a word to two registers of bf16. Each is 2^-120 too small.
  static __device__ __forceinline__ void spread_word(uint32_t q, uint32_t* out) {
    out[0] = q & 0x87f087f0;
    out[1] = (q << 4 & 0x80f080f0) | (q >> 4 & 0x07000700);
  }

  // Where bit b of the value for a half of register r is in its word: the inverse of spread_word.
  static __host__ __device__ constexpr int bit_position(int r, int half, int b) {
    return half * 16 + (r % 2 == 0 ? (b == 7 ? 15 : b + 4) : b == 7 ? 11 : b < 4 ? b : b + 8);
  }

 private:
  static __device__ __forceinline__ void load_scales(uint32_t from, Packed& packed) {
    const uint2 scales = load_shared_8(from);
    packed.scales[0] = scales.x;
    packed.scales[1] = scales.y;
    if constexpr (kHalf) {
      for (uint32_t& scale : packed.scales) scale = __float_as_uint(__fmul_rn(__uint_as_float(scale), 0x1p120f));
    }
  }

  bool in_blocks_;  // the scales
};

#endif

}  // namespace yamoe
