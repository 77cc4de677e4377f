// Loads and stores 16 bytes of elements as f32, with streaming cache hints; or one element at a time, if rows are not
// aligned to 16 bytes.
#pragma once
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

// Elements as they are loaded.
template <class T, int kCount>
using Elements = std::conditional_t<kCount == 1, T, uint4>;

template <int kCount, class T>
__device__ __forceinline__ Elements<T, kCount> load_elements(const T* from) {
  if constexpr (kCount == 1) {
    return *from;
  } else {
    return load_streaming_16(from);
  }
}
template <class T, int kCount>
__device__ __forceinline__ void widen_elements(const Elements<T, kCount>& from, float (&to)[kCount]) {
  if constexpr (kCount == 1) {
    to[0] = widen(from);
  } else {
    unpack_16<T>(from, to);
  }
}

// Rounds and stores elements of 16 bytes, or eight f32.
template <int kCount, class T>
__device__ __forceinline__ void store_elements(T* to, const float (&from)[kCount]) {
  if constexpr (kCount == 1) {
    *to = narrow<T>(from[0]);
  } else if constexpr (kCount * sizeof(T) == 32) {
    store_streaming_16(to, pack_16<float>({from[0], from[1], from[2], from[3]}));
    store_streaming_16(to + 4, pack_16<float>({from[4], from[5], from[6], from[7]}));
  } else {
    store_streaming_16(to, pack_16<T>(from));
  }
}

// The number of elements in 16 bytes.
template <class T>
constexpr int kElements = 16 / sizeof(T);

}  // namespace yamoe
