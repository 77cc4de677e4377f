// Integers of four bits as Hopper's kernels read them: see packed_format.cuh.
#pragma once
#include "packed_format.cuh"

namespace yamoe {

// The variants of the blocks of integers. They can be combined.
constexpr int kTwoGroups = 1;   // each row of a block has a scale for each half of its columns, not one for all
constexpr int kZeroPoints = 2;  // each scale has a zero point; otherwise it is 8
constexpr int kF16Scales = 4;   // the scales are f16, not bf16

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// The bytes of a block's scales and zero points.
__host__ __device__ constexpr int scale_bytes(int variant) {
  return kBlockRows * (variant & kTwoGroups ? 2 : 1) * (variant & kZeroPoints ? 3 : 2);
}

// Unsigned numbers of four bits, with scales of 16 bits. A weight is (number - zero point) scale, rounded once to T. The
// difference is exact. The scales are of T, or kSplit: of f16 for T = bf16, and split into two numbers of bf16. kVariant is
// the variant of the blocks, or -1 if it is known only at run time.
//
// A block has the values, the scales and the zero points. The scales of a thread's two rows are neighbours, and those of the
// second group follow. A word has the eight values of a thread for one wgmma: bits 4 r and 16 + 4 r are the first of those for
// register r.
template <class T_, bool kSplit = false, int kVariant = -1>
struct Int4 {
  using T = T_;
  static constexpr bool kHalf = std::is_same_v<T, __half>;
  static constexpr bool kFused = !kHalf && !kSplit && kVariant >= 0 && !(kVariant & kZeroPoints);
  static constexpr int kRegisters = 7;
  static constexpr int kValueBytes = 2048, kBlockBytes = kValueBytes + scale_bytes(kTwoGroups | kZeroPoints);
  static constexpr int kVariantBytes = kVariant < 0 ? 0 : kValueBytes + scale_bytes(kVariant);
  static constexpr bool kUnrolled = !kHalf, kHasRowScales = false;
  static constexpr float kFactor = kFused ? 0x1p12f : 1.0f;

  struct Packed {
    uint4 values;
    uint32_t scales[2];  // of the two groups, each for two rows
    uint32_t zeros;      // of the two rows and then of the second group
  };

  __device__ __forceinline__ explicit Int4(int variant) : variant_(kVariant < 0 ? variant : kVariant) {
    const int pair = threadIdx.x % 128 / 4;
    scales_ = kValueBytes + pair * 4 * groups();
    zeros_ = has_zero_points() ? kValueBytes + (kBlockRows + pair) * 2 * groups() : 0;
  }

  // Calls `use` with the format of a variant that is known at compile time.
  template <class Use>
  static __device__ __forceinline__ void with_variant(int variant, const Use& use) {
    switch (variant & (kTwoGroups | kZeroPoints)) {
      case 0: return use(Int4<T, kSplit, 0>(0));
      case kTwoGroups: return use(Int4<T, kSplit, kTwoGroups>(0));
      case kZeroPoints: return use(Int4<T, kSplit, kZeroPoints>(0));
      default: return use(Int4<T, kSplit, kTwoGroups | kZeroPoints>(0));
    }
  }

  __device__ __forceinline__ void load(uint32_t block, Packed& packed) const {
    packed = {load_shared_16(block + threadIdx.x % 128 * 16), {load_shared_4(block + scales_)}, 0x08080808};
    packed.scales[1] = kVariant >= 0 && groups() == 1 ? packed.scales[0] : load_shared_4(block + scales_ + (groups() - 1) * 4);
    if (kVariant < 0 || has_zero_points()) {
      const uint32_t first = load_shared_2(block + zeros_), second = load_shared_2(block + zeros_ + (groups() - 1) * 2);
      if (has_zero_points()) packed.zeros = first | second << 16;
    }
  }

  // Decodes the operand of wgmma c. The four bits of a number, in the low or the high half of a byte, are also the bits of a
  // multiple of it: of a subnormal number of bf16, or of a number of f16 to which 1024 is added. Multiplying it and adding an
  // offset gives number - zero point, with bf16 divided by a power of two. The scale is multiplied by that power.
  //
  // With bf16 and without zero points, one fused multiplication and addition gives the weight divided by kFactor, because
  // 8 · scale is exact. The division keeps the multiplied scale finite: scales must be 0, or at least 2^-114 and below 2^7 in
  // magnitude. Sums keep their bits, unless they are below about 2^-100.
  __device__ __forceinline__ void decode(const Packed& packed, int c, uint32_t* out) const {
    const int group = c / 2;
    const uint32_t word = word_of(packed.values, c);
    const auto bits_of = [&](int r) { return (r / 2 ? word >> 8 : word) & (r % 2 ? 0x00f000f0 : 0x000f000f); };
    if constexpr (kFused) {
      const uint32_t scales = multiply_pairs<T>(packed.scales[group], kFusedPowers);
      const uint32_t offsets = multiply_pairs<T>(packed.scales[group], kFusedOffsets);
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        out[r] = multiply_add_pairs<T>(bits_of(r), repeat_half(scales, r % 2), repeat_half(offsets, r % 2));
      }
      return;
    }
    uint32_t scales = packed.scales[group], rests = 0;
    if constexpr (kSplit) split(scales, rests);
    if constexpr (!kHalf) scales = multiply_pairs<T>(scales, kPowers);
    if constexpr (kSplit) rests = multiply_pairs<T>(rests, kPowers);
    uint32_t offsets = kOffsets;
    if (kVariant < 0 || has_zero_points()) {
      const uint32_t zeros = __byte_perm(packed.zeros, kOne, group ? 0x5352 : 0x5150);
      offsets = multiply_add_pairs<T>(zeros, kSlopes, kBases);
    }
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t bits = bits_of(r);
      const uint32_t number =
          multiply_add_pairs<T>(kHalf ? bits | kOne : bits, r % 2 ? kHigh : kLow, repeat_half(offsets, r % 2));
      const uint32_t scale = repeat_half(scales, r % 2);
      if constexpr (kSplit) {
        const uint32_t rest = repeat_half(rests, r % 2);
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

  __device__ __forceinline__ int groups() const { return variant_ & kTwoGroups ? 2 : 1; }
  __device__ __forceinline__ bool has_zero_points() const { return variant_ & kZeroPoints; }

  // Pairs of T. The thread's first row has the low halves of bytes, and its other row the high halves. A difference is
  // number kLow + offset or number kHigh + offset. The offset is kBases + kSlopes (kOne + zero point), or kOffsets for the zero
  // point 8. kOne is 1024 or 128, so that a zero point is its low byte. Scales are multiplied by kPowers.
  static constexpr uint32_t kOne = kHalf ? 0x64006400 : 0x43004300;
  static constexpr uint32_t kLow = kHalf ? 0x3c003c00 : 0x7f007f00, kHigh = kHalf ? 0x2c002c00 : 0x7f007f00;
  static constexpr uint32_t kSlopes = kHalf ? 0xbc00bc00 : 0xbe80bc80, kBases = kHalf ? 0x63800000 : 0x42004000;
  static constexpr uint32_t kOffsets = kHalf ? 0xd480e408 : 0xc000be00;
  static constexpr uint32_t kPowers = 0x40804280;  // 4 and 64
  // For one operation, scales are multiplied by 2^133 / kFactor and 2^129 / kFactor, and by -8 / kFactor for the offset.
  static constexpr uint32_t kFusedPowers = 0x7a007c00, kFusedOffsets = 0xbb00bb00;

  int variant_;
  uint32_t scales_, zeros_;  // offsets in a block
};

#endif

}  // namespace yamoe
