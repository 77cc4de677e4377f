// The element types: how they meet f32.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>

namespace yamoe {

__device__ __forceinline__ float2 widen2(__half2 v) { return __half22float2(v); }
__device__ __forceinline__ float2 widen2(__nv_bfloat162 v) { return __bfloat1622float2(v); }

__device__ __forceinline__ float widen(__half v) { return __half2float(v); }
__device__ __forceinline__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }

template <class T>
struct Element;

template <>
struct Element<__half> {
  using Pair = __half2;
  static __device__ __forceinline__ Pair narrow2(float x, float y) { return __floats2half2_rn(x, y); }
};

template <>
struct Element<__nv_bfloat16> {
  using Pair = __nv_bfloat162;
  static __device__ __forceinline__ Pair narrow2(float x, float y) { return __floats2bfloat162_rn(x, y); }
};

// Two f32, rounded to T, as one register: x in the low half.
template <class T>
__device__ __forceinline__ uint32_t pack2(float x, float y) {
  const typename Element<T>::Pair pair = Element<T>::narrow2(x, y);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// The two elements in a register, as f32.
template <class T>
__device__ __forceinline__ float2 unpack2(uint32_t bits) {
  typename Element<T>::Pair pair;
  memcpy(&pair, &bits, sizeof bits);
  return widen2(pair);
}

}  // namespace yamoe
