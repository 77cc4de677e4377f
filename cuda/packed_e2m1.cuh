// How E2M1 numbers are laid out in blocks, and decoded again, for MXFP4 and NVFP4: see packed_format.cuh.
#pragma once
#include "packed_blocks.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Writes the values of a block. Numbers has bit_position, as Mxfp4.
template <class Numbers>
__device__ __forceinline__ void lay_out_e2m1(unsigned char* block, const BlocksArguments& p) {
  uint32_t words[4] = {};
  for_each_value(p, [&](int c, int r, int half, size_t row, int k) {
    const int number = number_of(p, row, k);
    for (int b = 0; b < 4; ++b) {
      words[c] |= static_cast<uint32_t>(number >> b & 1) << Numbers::bit_position(r, half, b);
    }
  });
  reinterpret_cast<uint4*>(block)[threadIdx.x] = make_uint4(words[0], words[1], words[2], words[3]);
}

// The value of the number for a half of register r of wgmma c.
template <class Numbers>
__device__ __forceinline__ float e2m1_of(const unsigned char* block, int thread, int c, int r, int half) {
  const uint32_t word = reinterpret_cast<const uint32_t*>(block)[thread * 4 + c];
  int bits = 0;
  for (int b = 0; b < 4; ++b) bits |= static_cast<int>(word >> Numbers::bit_position(r, half, b) & 1) << b;
  const int exponent = bits >> 1 & 3, mantissa = bits & 1;
  const float magnitude = exponent ? (2 + mantissa) * (1 << exponent) * 0.25f : mantissa * 0.5f;
  return bits & 8 ? -magnitude : magnitude;
}

#endif

}  // namespace yamoe
