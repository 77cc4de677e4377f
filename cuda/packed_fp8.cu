// The kernels that lay out E4M3 weights in blocks, at upload, and that decode them again.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_blocks.cuh"
#include "packed_fp8.cuh"

namespace yamoe {

constexpr int kE8M0 = 3;  // a dtype of scales, beside those of codes.cuh

struct Fp8BlocksArguments : BlocksArguments {
  const void* scales;         // [experts][bands][runs]: one for each band_rows rows and run_columns columns
  unsigned char* row_scales;  // out: if the variant is 1, what follows the blocks
  int* nans;                  // out: becomes 1 if a number is NaN, because Fp8::decode cannot make one of it
  int scale_dtype, band_rows, run_columns;
};

__device__ __forceinline__ float load_scale(const void* scales, size_t at, int dtype) {
  if (dtype == kE8M0) return ldexpf(1.0f, static_cast<const unsigned char*>(scales)[at] - 127);
  return load_as(scales, at, dtype);
}

// The value of an E4M3 number.
__device__ __forceinline__ float widen_e4m3(int bits) {
  return widen_f16_pair(widen_e4m3_pair(static_cast<uint16_t>(bits))).x;
}

// Whether the operations of Fp8<bf16>::decode with a and r round the products of s and all mantissas right.
__device__ __forceinline__ bool is_exact(float s, uint32_t a, uint32_t r) {
  using T = __nv_bfloat16;
  for (int m = 0; m < 8; ++m) {
    const float mantissa = 1.0f + static_cast<float>(m) / 8;
    const uint32_t v = pack2<T>(mantissa, mantissa);
    const uint32_t expected = pack2<T>(__fmul_rn(mantissa, s), 0.0f);
    if (((multiply_add_pairs<T>(v, a, multiply_pairs<T>(v, r)) ^ expected) & 0xffff) != 0) return false;
  }
  return true;
}

// The number r for a scale s and a = bf16(s), in the low half: s - a, rounded, or one of the four numbers next to it.
__device__ __forceinline__ uint32_t find_rest(float s, uint32_t a) {
  const uint32_t nearest = pack2<__nv_bfloat16>(s - __uint_as_float(a << 16), 0.0f);
  for (int i = 0; i < 5; ++i) {
    const uint32_t r = nearest + (i % 2 ? i / 2 + 1 : -i / 2);
    if (is_exact(s, a, r)) return r;
  }
  return nearest;  // out of range: not multiplied
}

// The pair of two scales.
__device__ __forceinline__ uint2 pair_of(float x, float y) {
  using T = __nv_bfloat16;
  constexpr uint32_t kPower = 0x7b807b80;  // 2^120, twice
  const uint32_t a = pack2<T>(x, y), r = (find_rest(x, a & 0xffff) & 0xffff) | find_rest(y, a >> 16) << 16;
  return {multiply_pairs<T>(a, kPower), multiply_pairs<T>(r, kPower)};
}

// Where a strip's row scales are after the blocks, in bytes: the scales, or with bf16 their pairs.
template <class T>
__device__ __forceinline__ size_t row_scales_at(const BlockPosition& at, int width) {
  const size_t group = static_cast<size_t>(at.expert) * ceil_div(width, kStrips * kBlockRows) + at.strip / kStrips;
  return Fp8<T>::row_scales_at(group) + at.strip % kStrips * kRowScaleBytes;
}

struct Fp8Decoder {
  using Format = Fp8<__nv_bfloat16>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments& p, int thread, int c,
                                                int r, int half) {
    const uint32_t word = reinterpret_cast<const uint32_t*>(block)[c / 2 * 512 + thread * 4 + c % 2 * 2 + r / 2];
    int bits = 0;
    for (int b = 0; b < 8; ++b) bits |= static_cast<int>(word >> Format::bit_position(r, half, b) & 1) << b;
    const float* scales = reinterpret_cast<const float*>(block + Format::kValueBytes) + r % 2;
    if (p.variant) {
      const unsigned char* const after = p.blocks + static_cast<size_t>(gridDim.x) * p.block_bytes;
      const size_t own = row_scales_at<__half>(block_position(blockIdx.x, p.width, p.depth), p.width);
      scales = reinterpret_cast<const float*>(after + own) + fragment_position(thread, c, r, half).row;
    }
    return __fmul_rn(widen_e4m3(bits), *scales);
  }
};

// Lays out a block.
__device__ __forceinline__ void lay_out(unsigned char* block, const Fp8BlocksArguments& p, const BlockPosition& at,
                                        int thread) {
  using Format = Fp8<__nv_bfloat16>;
  uint32_t words[8] = {};
  bool has_nan = false;
  for_each_value(p, [&](int c, int r, int half, size_t row, int k) {
    const int number = p.values[row * p.depth + k];
    has_nan |= (number & 0x7f) == 0x7f;
    for (int b = 0; b < 8; ++b) {
      words[c * 2 + r / 2] |= static_cast<uint32_t>(number >> b & 1) << Format::bit_position(r, half, b);
    }
  });
  uint4* const to = reinterpret_cast<uint4*>(block);
  to[thread] = make_uint4(words[0], words[1], words[2], words[3]);
  to[128 + thread] = make_uint4(words[4], words[5], words[6], words[7]);
  if (has_nan) atomicMax(p.nans, 1);

  // A thread has the scales of two rows, or padding.
  if (p.variant && at.step > 0) return;
  if (thread >= (p.variant ? kRowScaleBytes : p.block_bytes - Format::kValueBytes) / 8) return;
  const int row = at.strip * kBlockRows + thread * 2;
  float scales[2] = {};
  for (int r = 0; r < 2; ++r) {
    if (row + r >= p.width || (!p.variant && thread > 0)) continue;
    const int bands = ceil_div(p.width, p.band_rows), runs = ceil_div(p.depth, p.run_columns);
    const size_t band = static_cast<size_t>(at.expert) * bands + source_row(row + r, p.half) / p.band_rows;
    scales[r] = load_scale(p.scales, band * runs + at.step * kBlockDepth / p.run_columns, p.scale_dtype);
  }
  const uint2 own = make_uint2(__float_as_uint(scales[0]), __float_as_uint(scales[1]));
  uint2* const pairs = reinterpret_cast<uint2*>(block + Format::kValueBytes);
  if (p.variant) {
    const auto after = [&](size_t offset) { return reinterpret_cast<uint2*>(p.row_scales + offset); };
    after(row_scales_at<__half>(at, p.width))[thread] = own;
    after(row_scales_at<__nv_bfloat16>(at, p.width))[thread] = pair_of(scales[0], scales[1]);
  } else if (thread == 0) {
    pairs[0] = own;
    pairs[1] = pair_of(scales[0], scales[1]);
  } else if (thread > 1) {
    pairs[thread] = make_uint2(0, 0);
  }
}

}  // namespace yamoe

YAMOE_BLOCKS(fp8, Fp8)
#endif
