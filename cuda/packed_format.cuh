// The packed weight formats as Hopper's kernels read them: their layout in memory, and how they are decoded.
//
// Weights are stored in blocks of 64 rows (outputs) and 64 columns (inputs). A block has the values of each of a
// warpgroup's 128 threads one after the other, in the order of its four wgmmas, followed by the scales. Three blocks that
// are copied together are neighbours: those of three strips of 64 rows. Then follow the next columns, the next rows, and the
// next expert. Missing rows and columns are zeros. cuda/packed_mxfp4.cu and its neighbours make the blocks.
//
// A format is a class with T, the dtype of the operand; kBlockBytes, the bytes of its largest block; Packed, what a thread
// reads of a block; kRegisters, how many registers that takes; and the functions load and decode. The blocks of a format have
// variants, which differ in their scales and in their bytes. The constructor gets the variant. with_variant calls a function
// with a format that decodes one variant with the fewest instructions, if that differs. Of that format, kVariantBytes are the
// bytes of a block, or 0 if they are known only at run time, and kFactor is what its weights must be multiplied by: a power of
// two. Sums are multiplied instead. kUnrolled: whether the loop of the fewest rows is unrolled. It takes much of the package, so
// only where it gains most.
//
// kHasRowScales: whether the scales are not in the blocks if the variant is 1. Then kRowScaleBytes of each strip follow the blocks of
// all experts, at row_scales_at(three strips), and are copied once for each tile, behind the blocks of its first stage.
// load_row_scales loads a thread's part of them, and load does not change it. kBlockBytes counts them.
#pragma once
#include <ptx_packed.cuh>

#include "element.cuh"

namespace yamoe {

constexpr int kBlockRows = 64, kBlockDepth = 64;
constexpr int kStrips = 3;  // blocks that are neighbours
constexpr int kRowScaleBytes = kBlockRows * 4;  // of a strip

__host__ __device__ constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }

// The row scales of a tile, and nothing else: see load.
template <class Format>
__device__ __forceinline__ typename Format::Packed start_tile(const Format& format, uint32_t row_scales) {
  typename Format::Packed packed{};
  if constexpr (Format::kHasRowScales) format.load_row_scales(row_scales, packed);
  return packed;
}

// The two rows of a warp's 16 and the four depths of 16 whose elements a thread has in register r of wgmma c, in `half` of
// the register: see "Register Fragments for wgmma.mma_async.m64nNk16".
struct FragmentPosition {
  int row, depth;
};
__host__ __device__ constexpr FragmentPosition fragment_position(int thread, int c, int r, int half) {
  return {thread / 32 * 16 + thread % 32 / 4 * 2 + r % 2, c * 16 + r / 2 * 8 + thread % 4 * 2 + half};
}

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A thread's word for wgmma c, which must be known at compile time.
__device__ __forceinline__ uint32_t word_of(const uint4& words, int c) {
  return c == 0 ? words.x : c == 1 ? words.y : c == 2 ? words.z : words.w;
}

// E2M1 numbers with an E8M0 scale for each 32 columns of a row.
//
// A word has the eight values of a thread for one wgmma. spread_word moves the bits of a value to the exponent and the
// mantissa of T, whose value is then 2^-kBias too small, subnormal numbers included. The scale makes up for that. So the
// product is exact.
template <class T_>
struct Mxfp4 {
  using T = T_;
  __device__ __forceinline__ explicit Mxfp4(int) {}
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    use(Mxfp4(variant));
  }
  static constexpr int kValueBytes = 2048, kBlockBytes = kValueBytes + kBlockRows * 2;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr int kBias = kHalf ? 14 : 126;
  static constexpr int kRegisters = 5;
  static constexpr float kFactor = 1.0f;
  static constexpr int kVariantBytes = kBlockBytes;
  static constexpr bool kUnrolled = !kHalf, kHasRowScales = false;

  // What a thread reads of a block: its values, and the scales of its two rows and two groups (byte 2 group + row).
  struct Packed {
    uint4 values;
    uint32_t scales;
  };
  __device__ __forceinline__ void load(uint32_t block, Packed& packed) const {
    const int thread = threadIdx.x % 128;
    packed = {load_shared_16(block + thread * 16), load_shared_4(block + kValueBytes + thread / 4 * 4)};
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const uint32_t scales = multipliers(packed, c / 2);
    spread_word(word_of(packed.values, c), out);
#pragma unroll
    for (int r = 0; r < 4; ++r) out[r] = multiply_pairs<T>(out[r], repeat_half(scales, r % 2));
  }

  // Moves the values of a word to four registers of T. Each is 2^-kBias too small.
  static __device__ __forceinline__ void spread_word(uint32_t q, uint32_t* out) {
    if constexpr (kHalf) {
      constexpr uint32_t kSign = 0x80008000, kMagnitude = 0x0e000e00;
      const uint32_t rotated = __funnelshift_l(q, q, 12);
      out[0] = (q & kSign) | (q << 3 & 0x0c000c00) | (q >> 5 & 0x02000200);
      out[1] = (q << 2 & kSign) | (q << 5 & kMagnitude);
      out[2] = (q << 6 & kSign) | (q << 9 & kMagnitude);
      out[3] = (rotated & kSign) | (rotated << 3 & kMagnitude);
    } else {
      constexpr uint32_t kMask = 0x81c081c0;
      out[0] = (q & 0x81808180) | (q >> 8 & 0x00400040);
      out[1] = q << 2 & kMask;
      out[2] = q << 6 & kMask;
      out[3] = __funnelshift_l(q, q, 12) & kMask;
    }
  }

  // Where bit b of the value for a half of register r is in a word (3: sign, 2 and 1: exponent, 0: mantissa): the inverse
  // of spread_word. These rotations take the fewest instructions with bf16.
  static __host__ __device__ constexpr int bit_position(int r, int half, int b) {
    const int to = half * 16 + (b == 3 ? 15 : 6 + b);  // in a register of bf16
    return r == 0 ? (b == 0 ? to + 8 : to) : r == 3 ? (to + 20) % 32 : to - (r == 1 ? 2 : 6);
  }

 private:
  // 2^(scale - 127 + kBias) for each of the two rows.
  static __device__ __forceinline__ uint32_t multipliers(const Packed& packed, int group) {
    if constexpr (kHalf) {
      const uint32_t both = __byte_perm(packed.scales, 0, group ? 0x4342 : 0x4140);
      return (__vmaxu2(both, 0x00620062) - 0x00620062) << 10;
    }
    return __byte_perm(packed.scales, 0, group ? 0x4342 : 0x4140) * 0x0080 + 0x3f003f00;  // (scale + 126) 2^7
  }
};

#endif

}  // namespace yamoe
