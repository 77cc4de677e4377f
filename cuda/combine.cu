// Each token's output row: the weighted sum of its experts' rows, in f32, in slot order, then of an addend's, with one
// rounding. Writes every row once, zeros where every assignment was dropped. Bound by memory: one warp a token, 16 bytes a lane,
// past the caches. There is a warp for each token: fewer that go around took 15 % longer.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;

// rows[t][k]: the row of `expert_outputs`, or -1. The weight of (t, k) is weights[t][k], or weights[t][indices[t][k]] where
// indices are given. addend[t], where there is one, has the weight addend_weights[t], or 1.
template <int kCount, class T>
__device__ __forceinline__ void combine(const T* __restrict__ expert_outputs, const int* __restrict__ rows,
                                        const void* __restrict__ weights, int weights_dtype,
                                        const int* __restrict__ indices, const T* __restrict__ addend,
                                        const float* __restrict__ addend_weights, T* __restrict__ out, int tokens,
                                        int top_k, int weight_columns, int width) {
  const int t = (blockIdx.x * kCombineThreads + threadIdx.x) / 32;
  if (t >= tokens) return;
  const size_t slot = static_cast<size_t>(t) * top_k;
  for (int c = (threadIdx.x & 31) * kCount; c < width; c += 32 * kCount) {
    float sum[kCount] = {};
    const auto add = [&](const T* row, float weight) {
      float v[kCount];
      load_elements(row + c, v);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
    };
    for (int k = 0; k < top_k; ++k) {
      const int row = rows[slot + k];
      if (row < 0) continue;
      const int column = indices ? indices[slot + k] : k;
      add(expert_outputs + static_cast<size_t>(row) * width,
          load_as(weights, static_cast<size_t>(t) * weight_columns + column, weights_dtype));
    }
    if (addend) add(addend + static_cast<size_t>(t) * width, addend_weights ? addend_weights[t] : 1.0f);
    store_elements(out + static_cast<size_t>(t) * width + c, sum);
  }
}

}  // namespace yamoe

#define YAMOE_COMBINE(dtype, T)                                                                                     \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 4) combine_##dtype(                          \
      const T* expert_outputs, const int* rows, const void* weights, int weights_dtype, const int* indices,         \
      const T* addend, const float* addend_weights, T* out, int tokens, int top_k, int weight_columns, int width) { \
    constexpr int kCount = yamoe::kElements<T>;                                                                     \
    if (width % kCount == 0) {                                                                                      \
      yamoe::combine<kCount>(expert_outputs, rows, weights, weights_dtype, indices, addend, addend_weights, out,    \
                             tokens, top_k, weight_columns, width);                                                 \
    } else {                                                                                                        \
      yamoe::combine<1>(expert_outputs, rows, weights, weights_dtype, indices, addend, addend_weights, out, tokens, \
                        top_k, weight_columns, width);                                                              \
    }                                                                                                               \
  }

YAMOE_COMBINE(f16, __half)
YAMOE_COMBINE(bf16, __nv_bfloat16)
YAMOE_COMBINE(f32, float)
