// Computes each token's output row: the weighted sum of its experts' rows, in f32, in slot order, then of an addend's
// row, with one rounding. Every row is written once; a token without a kept assignment gets zeros. The kernel is bound
// by memory: one warp computes one token, 16 bytes a lane. A grid with fewer warps than tokens, looping over them, was
// 15 % slower.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;

template <class T>
struct CombineArguments {
  const T* expert_outputs;      // [rows][width]
  const int* rows;              // [tokens][top_k]: a row of expert_outputs, or -1
  const void* weights;          // [tokens][weight_columns]
  const int* indices;           // [tokens][top_k]: the column of each slot's weight; null: column k for slot k
  const T* addend;              // [tokens][width], or null
  const float* addend_weights;  // [tokens], or null for 1
  T* out;                       // [tokens][width]
  int weights_dtype, tokens, top_k, weight_columns, width;
};

template <int kCount, class T>
__device__ __forceinline__ void combine(const CombineArguments<T>& p) {
  const int t = blockIdx.x * (kCombineThreads / 32) + threadIdx.x / 32;
  if (t >= p.tokens) return;
  const size_t slot = static_cast<size_t>(t) * p.top_k;
  for (int c = (threadIdx.x & 31) * kCount; c < p.width; c += 32 * kCount) {
    float sum[kCount] = {};
    const auto add = [&](const T* row, float weight) {
      float v[kCount];
      load_elements(row + c, v);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
    };
    for (int k = 0; k < p.top_k; ++k) {
      const int row = p.rows[slot + k];
      if (row < 0) continue;
      const int column = p.indices ? p.indices[slot + k] : k;
      add(p.expert_outputs + static_cast<size_t>(row) * p.width,
          load_as(p.weights, static_cast<size_t>(t) * p.weight_columns + column, p.weights_dtype));
    }
    if (p.addend) add(p.addend + static_cast<size_t>(t) * p.width, p.addend_weights ? p.addend_weights[t] : 1.0f);
    store_elements(p.out + static_cast<size_t>(t) * p.width + c, sum);
  }
}

}  // namespace yamoe

#define YAMOE_COMBINE(dtype, T)                                           \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 4) \
      combine_##dtype(const yamoe::CombineArguments<T> arguments) {       \
    constexpr int kCount = yamoe::kElements<T>;                           \
    if (arguments.width % kCount == 0) {                                  \
      yamoe::combine<kCount>(arguments);                                  \
    } else {                                                              \
      yamoe::combine<1>(arguments);                                       \
    }                                                                     \
  }

YAMOE_COMBINE(f16, __half)
YAMOE_COMBINE(bf16, __nv_bfloat16)
YAMOE_COMBINE(f32, float)
