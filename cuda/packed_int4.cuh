// Integers of four bits as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

// The variants of the blocks of integers. They can be combined.
constexpr int kTwoGroups = 1;   // each row of a block has a scale for each half of its columns, not one for all
constexpr int kZeroPoints = 2;  // each scale has a zero point; otherwise it is 8
constexpr int kF16Scales = 4;   // the scales are f16, not bf16

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Unsigned numbers of four bits, with scales of 16 bits. A weight is (number - zero point) scale, rounded once to T. The
// difference is exact. With T = f16, the scales must be f16.
//
// A block has the values, the scales and the zero points. The scales of a thread's two rows are neighbours, and those of the
// second group follow. A word has the eight values of a thread for one wgmma: bits 4 r and 16 + 4 r are the first of those for
// register r.
template <class T_>
struct Int4 {
  using T = T_;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr int kValueBytes = 2048, kBlockBytes = kValueBytes + kBlockRows * 2 * 3;
  // Numbers of T, twice, whose last bits count 1: 1024 or 128.
  static constexpr uint32_t kMagic = kHalf ? 0x64006400 : 0x43004300;

  struct Packed {
    uint4 values;
    uint32_t scales[2];  // of the two groups, each for two rows
    uint32_t zeros;      // of the two rows and then of the second group
  };

  __device__ __forceinline__ explicit Int4(int variant) : f16_scales_(variant & kF16Scales) {
    const int pair = threadIdx.x % 128 / 4, groups = variant & kTwoGroups ? 2 : 1;
    scales_ = kValueBytes + pair * 4 * groups;
    second_ = scales_ + (groups - 1) * 4;
    if (variant & kZeroPoints) {  // with one group, an aligned word has the zero points of two pairs of rows
      zeros_ = kValueBytes + kBlockRows * 2 * groups + (pair * 2 * groups & ~3);
      order_ = groups == 2 ? 0x3210 : pair % 2 ? 0x3232 : 0x1010;
    } else {
      zeros_ = 0;
      order_ = 0x4444;
    }
  }

  __device__ __forceinline__ Packed load(uint32_t block) const {
    return {load_shared_16(block + threadIdx.x % 128 * 16),
            {load_shared_4(block + scales_), load_shared_4(block + second_)},
            __byte_perm(load_shared_4(block + zeros_), 0x08080808, order_)};
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const int group = c / 2;
    const uint32_t word = word_of(packed.values, c);
    uint32_t high = packed.scales[group], low = 0;
    if constexpr (!kHalf) {
      if (f16_scales_) split_scales(high, low);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t zero = __byte_perm(packed.zeros, kMagic, 0x5050 | (group * 2 + r % 2) * 0x0101);
      const uint32_t number = subtract_pairs<T>((word >> 4 * r & 0x000f000f) | kMagic, zero);
      const uint32_t scale = __byte_perm(high, 0, r % 2 ? 0x3232 : 0x1010);
      if constexpr (kHalf) {
        out[r] = multiply_pairs<T>(number, scale);
      } else {
        const uint32_t rest = multiply_pairs<T>(number, __byte_perm(low, 0, r % 2 ? 0x3232 : 0x1010));
        out[r] = multiply_add_pairs<T>(number, scale, rest);
      }
    }
  }

 private:
  // Splits a pair of f16 scales into two of bf16 whose sum is exact. `low` has at most three significant bits, so its product
  // with a difference is exact, and the sum of both products is rounded once.
  static __device__ __forceinline__ void split_scales(uint32_t& high, uint32_t& low) {
    const float2 scales = widen_f16_pair(high);
    high = pack2<T>(scales.x, scales.y);
    const float2 rounded = unpack2<T>(high);
    low = pack2<T>(scales.x - rounded.x, scales.y - rounded.y);
  }

  uint32_t scales_, second_, zeros_;  // offsets in a block
  uint32_t order_;                    // of the bytes of the word with zero points
  bool f16_scales_;
};

#endif

}  // namespace yamoe
