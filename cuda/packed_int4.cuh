// Integers of four bits as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Unsigned numbers of four bits, with scales of T. A weight is (number - zero point) scale. The difference is exact, so the
// product is rounded once.
//
// kGroups: the scales of each row of a block, for one or two groups of columns. kZeros: whether each scale has a zero point.
// Without it, the zero point is 8. A block has the values, the scales and the zero points. The scales of a thread's two rows
// are neighbours, and those of the second group follow.
//
// A word has the eight values of a thread for one wgmma: bits 4 r and 16 + 4 r are the first of those for register r.
template <class T_, int kGroups_, bool kZeros_>
struct Int4 {
  using T = T_;
  static constexpr int kGroups = kGroups_;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kValueBytes = 2048, kScaleBytes = kBlockRows * kGroups * 2;
  static constexpr int kBlockBytes = kValueBytes + kScaleBytes + (kZeros ? kBlockRows * kGroups : 0);
  // Numbers of T, twice, whose last bits count 1: 1024 or 128.
  static constexpr uint32_t kMagic = std::is_same_v<T, __half> ? 0x64006400 : 0x43004300;

  struct Packed {
    uint4 values;
    uint32_t scales[kGroups];
    uint32_t zeros;  // of the two rows and then of the second group
  };
  static __device__ __forceinline__ Packed load(uint32_t block) {
    const int thread = threadIdx.x % 128, pair = thread / 4;
    Packed packed;
    packed.values = load_shared_16(block + thread * 16);
    if constexpr (kGroups == 2) {
      const uint2 scales = load_shared_8(block + kValueBytes + pair * 8);
      packed.scales[0] = scales.x;
      packed.scales[1] = scales.y;
    } else {
      packed.scales[0] = load_shared_4(block + kValueBytes + pair * 4);
    }
    // With one group, an aligned word has the zero points of two pairs of rows.
    packed.zeros = kZeros ? load_shared_4(block + kValueBytes + kScaleBytes + (pair * 2 * kGroups & ~3)) : 0;
    if constexpr (kZeros && kGroups == 1) packed.zeros >>= pair % 2 * 16;
    return packed;
  }

  // Decodes the operand of wgmma c.
  static __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) {
    const int group = kGroups == 2 ? c / 2 : 0;
    const uint32_t word = word_of(packed.values, c);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t scale = __byte_perm(packed.scales[group], 0, r % 2 ? 0x3232 : 0x1010);
      const uint32_t zero =
          kZeros ? __byte_perm(packed.zeros, kMagic, 0x5050 | (group * 2 + r % 2) * 0x0101) : kMagic | 0x00080008;
      out[r] = multiply_pairs<T>(subtract_pairs<T>((word >> 4 * r & 0x000f000f) | kMagic, zero), scale);
    }
  }
};

#endif

}  // namespace yamoe
