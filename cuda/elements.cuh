// Several elements at a time as f32, and back, past the caches: 16 bytes of them, or one where rows do not begin at 16 bytes.
#pragma once
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

template <int kCount, class T>
__device__ __forceinline__ void load_elements(const T* from, float (&to)[kCount]) {
  if constexpr (kCount == 1) {
    to[0] = widen(*from);
  } else {
    unpack_16<T>(load_streaming_16(from), to);
  }
}
template <int kCount, class T>
__device__ __forceinline__ void store_elements(T* to, const float (&from)[kCount]) {
  if constexpr (kCount == 1) {
    *to = narrow<T>(from[0]);
  } else {
    store_streaming_16(to, pack_16<T>(from));
  }
}

// How many elements 16 bytes are.
template <class T>
constexpr int kElements = 16 / sizeof(T);

}  // namespace yamoe
