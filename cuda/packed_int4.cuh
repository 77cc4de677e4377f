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
// difference is exact. The scales are of T, or kSplit: of f16 for T = bf16, and split into two numbers of bf16.
//
// A block has the values, the scales and the zero points. The scales of a thread's two rows are neighbours, and those of the
// second group follow. A word has the eight values of a thread for one wgmma: bits 4 r and 16 + 4 r are the first of those for
// register r.
template <class T_, bool kSplit = false>
struct Int4 {
  using T = T_;
  static constexpr int kRegisters = 7;
  static constexpr int kValueBytes = 2048, kBlockBytes = kValueBytes + kBlockRows * 2 * 3;
  // Numbers of T, twice, whose last bits count 1: 1024 or 128.
  static constexpr uint32_t kMagic = std::is_same_v<T, __half> ? 0x64006400 : 0x43004300;

  struct Packed {
    uint4 values;
    uint32_t scales[2];  // of the two groups, each for two rows
    uint32_t zeros;      // of the two rows and then of the second group
  };

  __device__ __forceinline__ explicit Int4(int variant) : variant_(variant) {
    const int pair = threadIdx.x % 128 / 4, groups = variant & kTwoGroups ? 2 : 1;
    scales_ = kValueBytes + pair * 4 * groups;
    zeros_ = variant & kZeroPoints ? kValueBytes + (kBlockRows + pair) * 2 * groups : 0;
  }

  __device__ __forceinline__ Packed load(uint32_t block) const {
    const int second = variant_ & kTwoGroups ? 1 : 0;
    const uint32_t first = load_shared_2(block + zeros_), other = load_shared_2(block + zeros_ + second * 2);
    return {load_shared_16(block + threadIdx.x % 128 * 16),
            {load_shared_4(block + scales_), load_shared_4(block + scales_ + second * 4)},
            variant_ & kZeroPoints ? first | other << 16 : 0x08080808};
  }

  // Decodes the operand of wgmma c.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const int group = c / 2;
    const uint32_t word = word_of(packed.values, c);
    uint32_t scales = packed.scales[group], rests = 0;
    if constexpr (kSplit) split(scales, rests);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t zero = __byte_perm(packed.zeros, kMagic, 0x5050 | (group * 2 + r % 2) * 0x0101);
      const uint32_t number = subtract_pairs<T>((word >> 4 * r & 0x000f000f) | kMagic, zero);
      const uint32_t scale = __byte_perm(scales, 0, r % 2 ? 0x3232 : 0x1010);
      if constexpr (kSplit) {
        const uint32_t rest = __byte_perm(rests, 0, r % 2 ? 0x3232 : 0x1010);
        out[r] = multiply_add_pairs<T>(number, scale, multiply_pairs<T>(number, rest));
      } else {
        out[r] = multiply_pairs<T>(number, scale);
      }
    }
  }

 private:
  // Splits a pair of f16 scales into the eight leading bits of each, and the other three. A difference times the latter is
  // exact, so the sum of both products is rounded once.
  static __device__ __forceinline__ void split(uint32_t& scales, uint32_t& rests) {
    const float2 wide = widen_f16_pair(scales);
    const uint32_t x = __float_as_uint(wide.x) & 0xffff0000, y = __float_as_uint(wide.y) & 0xffff0000;
    scales = __byte_perm(x, y, 0x7632);
    rests = __byte_perm(__float_as_uint(wide.x - __uint_as_float(x)), __float_as_uint(wide.y - __uint_as_float(y)), 0x7632);
  }

  int variant_;
  uint32_t scales_, zeros_;  // offsets in a block
};

#endif

}  // namespace yamoe
