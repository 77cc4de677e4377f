// Packed weights as they are published: numbers of four or eight bits with scales. A weight is
//
//   number · scale, or number · (scale · global scale), or (number - zero point) · scale.
//
// Each product is rounded to f32, and the weight to T.
#pragma once
#include "codes.cuh"
#include "element.cuh"

namespace yamoe {

struct StoredWeights {
  const unsigned char* values;       // [experts][width][depth / 2 or depth]; the first of a pair is in the low bits
  const void* scales;                // [experts][bands][runs]: one for each block of rows and columns
  const unsigned char* zero_points;  // [experts][bands][runs], or null
  const float* global_scales;        // [experts][globals]; one for each part of the rows
  int numbers, scale_format;
  int scale_rows, scale_columns;  // of a block
  int globals;                    // or 0
};

// The row of scales of a row of an expert.
__device__ __forceinline__ size_t first_scale(const StoredWeights& w, int expert, int row, int width, int depth) {
  const size_t bands = (width + w.scale_rows - 1) / w.scale_rows,
               runs = (depth + w.scale_columns - 1) / w.scale_columns;
  return (expert * bands + row / w.scale_rows) * runs;
}

__device__ __forceinline__ float global_scale(const StoredWeights& w, int expert, int row, int width) {
  return w.global_scales[expert * w.globals + (w.globals == 2 && row >= width / 2)];
}

__device__ __forceinline__ uint32_t load_scale(const StoredWeights& w, size_t index) {
  if (w.scale_format == kScaleF32) return static_cast<const uint32_t*>(w.scales)[index];
  if (w.scale_format <= kScaleBF16) return static_cast<const uint16_t*>(w.scales)[index];
  return static_cast<const unsigned char*>(w.scales)[index];
}

// The values of small floats in the high bits of a word, other bits may be anything. Their bits become those of an f32 whose
// exponent is too small; subnormal numbers become subnormal numbers of f32. The factor makes up for that.
__device__ __forceinline__ float value_of_e2m1(uint32_t high) {
  return __uint_as_float(static_cast<int32_t>(high) >> 6 & 0x81c00000) * 0x1p126f;
}
__device__ __forceinline__ float value_of_e4m3(uint32_t high) {  // except for NaN
  return __uint_as_float(static_cast<int32_t>(high) >> 4 & 0x87f00000) * 0x1p120f;
}
__device__ __forceinline__ bool is_nan_e4m3(uint32_t bits) { return (bits & 0x7f) == 0x7f; }

// Scales are finite.
__device__ __forceinline__ float value_of_scale(uint32_t bits, int format) {
  switch (format) {
    case kScaleF32: return __uint_as_float(bits);
    case kScaleF16: return __half2float(__ushort_as_half(static_cast<unsigned short>(bits)));
    case kScaleBF16: return __uint_as_float(bits << 16);
    case kScaleE8M0: return bits == 0 ? 0x1p-127f : __uint_as_float(bits << 23);
    default: return value_of_e4m3(bits << 24);
  }
}

// The value of an unsigned integer of up to 23 bits, less a zero point.
__device__ __forceinline__ float difference(uint32_t number, uint32_t zero_point) {
  return __uint_as_float(0x4b000000 | number) - __uint_as_float(0x4b000000 | zero_point);
}

// The value of one weight.
__device__ __forceinline__ float stored_value(const StoredWeights& w, int expert, int row, int k, int width,
                                              int depth) {
  const size_t at = first_scale(w, expert, row, width, depth) + k / w.scale_columns;
  const size_t index = (static_cast<size_t>(expert) * width + row) * depth + k;
  float scale = value_of_scale(load_scale(w, at), w.scale_format);
  if (w.globals) scale = __fmul_rn(scale, global_scale(w, expert, row, width));
  if (w.numbers == kE4M3) {
    const uint32_t byte = w.values[index];
    return is_nan_e4m3(byte) ? __uint_as_float(0x7fffffff) : __fmul_rn(value_of_e4m3(byte << 24), scale);
  }
  const uint32_t nibble = w.values[index / 2] >> index % 2 * 4 & 15;
  if (w.numbers == kE2M1) return __fmul_rn(value_of_e2m1(nibble << 28), scale);
  const uint32_t zero_point = w.zero_points ? w.zero_points[at] : 8;
  return __fmul_rn(difference(w.numbers == kSigned ? nibble ^ 8 : nibble, zero_point), scale);
}

}  // namespace yamoe
