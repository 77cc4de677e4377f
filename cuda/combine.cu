// Each token's output row: the weighted sum of its experts' rows, in f32, in slot order, with one rounding. Writes every row
// once, zeros where every assignment was dropped. Bound by memory: one warp a token, 16 bytes a lane, past the caches.
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;

// `kCount` elements as f32, and back: 16 bytes of them, or one where rows do not begin at 16 bytes.
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

// rows[t][k]: the row of `expert_outputs`, or -1. The weight of (t, k) is weights[t][k], or weights[t][indices[t][k]] where
// indices are given.
template <int kCount, class T>
__device__ __forceinline__ void combine(const T* __restrict__ expert_outputs, const int* __restrict__ rows,
                                        const T* __restrict__ weights, const int* __restrict__ indices,
                                        T* __restrict__ out, int tokens, int top_k, int weight_columns, int width) {
  const int lane = threadIdx.x & 31;
  const int warps = gridDim.x * (kCombineThreads / 32);
  for (int t = (blockIdx.x * kCombineThreads + threadIdx.x) / 32; t < tokens; t += warps) {
    const size_t slot = static_cast<size_t>(t) * top_k;
    for (int c = lane * kCount; c < width; c += 32 * kCount) {
      float sum[kCount] = {};
      for (int k = 0; k < top_k; ++k) {
        const int row = rows[slot + k];
        if (row < 0) continue;
        const int column = indices ? indices[slot + k] : k;
        const float w = widen(weights[static_cast<size_t>(t) * weight_columns + column]);
        float v[kCount];
        load_elements(expert_outputs + static_cast<size_t>(row) * width + c, v);
#pragma unroll
        for (int i = 0; i < kCount; ++i) sum[i] = fmaf(w, v[i], sum[i]);
      }
      store_elements(out + static_cast<size_t>(t) * width + c, sum);
    }
  }
}

}  // namespace yamoe

#define YAMOE_COMBINE(dtype, T)                                                                                           \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 4) combine_##dtype(                                \
      const T* expert_outputs, const int* rows, const T* weights, const int* indices, T* out, int tokens, int top_k,      \
      int weight_columns, int width) {                                                                                    \
    constexpr int kCount = 16 / sizeof(T);                                                                                \
    if (width % kCount == 0) {                                                                                            \
      yamoe::combine<kCount>(expert_outputs, rows, weights, indices, out, tokens, top_k, weight_columns, width);          \
    } else {                                                                                                              \
      yamoe::combine<1>(expert_outputs, rows, weights, indices, out, tokens, top_k, weight_columns, width);               \
    }                                                                                                                     \
  }

YAMOE_COMBINE(f16, __half)
YAMOE_COMBINE(bf16, __nv_bfloat16)
YAMOE_COMBINE(f32, float)
