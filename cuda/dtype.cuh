// Loads and stores of single elements whose dtype is known only at run time.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "codes.cuh"

namespace yamoe {

__device__ __forceinline__ float load_as(const void* from, size_t at, int dtype) {
  if (dtype == kF16) return __half2float(static_cast<const __half*>(from)[at]);
  if (dtype == kBF16) return __bfloat162float(static_cast<const __nv_bfloat16*>(from)[at]);
  return static_cast<const float*>(from)[at];
}

// Rounds to nearest, ties to even.
__device__ __forceinline__ void store_as(void* to, size_t at, float value, int dtype) {
  if (dtype == kF16) {
    static_cast<__half*>(to)[at] = __float2half_rn(value);
  } else if (dtype == kBF16) {
    static_cast<__nv_bfloat16*>(to)[at] = __float2bfloat16_rn(value);
  } else {
    static_cast<float*>(to)[at] = value;
  }
}

}  // namespace yamoe
