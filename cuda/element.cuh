// Conversions between the element types and f32.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cstdint>

namespace yamoe {

__device__ __forceinline__ float2 widen2(__half2 v) { return __half22float2(v); }
__device__ __forceinline__ float2 widen2(__nv_bfloat162 v) { return __bfloat1622float2(v); }

__device__ __forceinline__ float widen(__half v) { return __half2float(v); }
__device__ __forceinline__ float widen(__nv_bfloat16 v) { return __bfloat162float(v); }
__device__ __forceinline__ float widen(float v) { return v; }

template <class T>
struct Element;

template <>
struct Element<__half> {
  using Pair = __half2;
  static __device__ __forceinline__ Pair narrow2(float x, float y) { return __floats2half2_rn(x, y); }
  static __device__ __forceinline__ __half narrow(float x) { return __float2half_rn(x); }
};

template <>
struct Element<__nv_bfloat16> {
  using Pair = __nv_bfloat162;
  static __device__ __forceinline__ Pair narrow2(float x, float y) { return __floats2bfloat162_rn(x, y); }
  static __device__ __forceinline__ __nv_bfloat16 narrow(float x) { return __float2bfloat16_rn(x); }
};

template <>
struct Element<float> {
  static __device__ __forceinline__ float narrow(float x) { return x; }
};

// Rounds an f32 to T.
template <class T>
__device__ __forceinline__ T narrow(float x) {
  return Element<T>::narrow(x);
}

// Rounds two f32 to T and packs them into one register, x in the low half.
template <class T>
__device__ __forceinline__ uint32_t pack2(float x, float y) {
  const typename Element<T>::Pair pair = Element<T>::narrow2(x, y);
  uint32_t bits;
  memcpy(&bits, &pair, sizeof bits);
  return bits;
}

// Unpacks the two elements of a register to f32.
template <class T>
__device__ __forceinline__ float2 unpack2(uint32_t bits) {
  typename Element<T>::Pair pair;
  memcpy(&pair, &bits, sizeof bits);
  return widen2(pair);
}

// Unpacks 16 bytes of elements to f32, and packs them again.
template <class T>
__device__ __forceinline__ void unpack_16(const uint4& v, float (&out)[16 / sizeof(T)]) {
  const uint32_t words[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if constexpr (sizeof(T) == 4) {
      out[i] = __uint_as_float(words[i]);
    } else {
      const float2 pair = unpack2<T>(words[i]);
      out[2 * i] = pair.x;
      out[2 * i + 1] = pair.y;
    }
  }
}
template <class T>
__device__ __forceinline__ uint4 pack_16(const float (&in)[16 / sizeof(T)]) {
  if constexpr (sizeof(T) == 4) {
    return make_uint4(__float_as_uint(in[0]), __float_as_uint(in[1]), __float_as_uint(in[2]), __float_as_uint(in[3]));
  } else {
    return make_uint4(pack2<T>(in[0], in[1]), pack2<T>(in[2], in[3]), pack2<T>(in[4], in[5]), pack2<T>(in[6], in[7]));
  }
}

}  // namespace yamoe
