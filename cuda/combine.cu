// Each token's output row: the weighted sum of its experts' rows, in f32, in slot order, with one rounding. Writes every row
// once, zeros where every assignment was dropped. Bound by memory: one warp a token, 16 bytes a lane, past the caches.
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;

// rows[t][k]: the row of `expert_outputs`, or -1. The weight of (t, k) is weights[t][k], or weights[t][indices[t][k]] where
// indices are given. `width` is a multiple of 8.
template <class T>
__device__ __forceinline__ void combine(const T* __restrict__ expert_outputs, const int* __restrict__ rows,
                                        const T* __restrict__ weights, const int* __restrict__ indices,
                                        T* __restrict__ out, int tokens, int top_k, int weight_columns, int width) {
  const int lane = threadIdx.x & 31;
  const int warps = gridDim.x * (kCombineThreads / 32);
  for (int t = (blockIdx.x * kCombineThreads + threadIdx.x) / 32; t < tokens; t += warps) {
    const size_t slot = static_cast<size_t>(t) * top_k;
    for (int c = lane * 8; c < width; c += 32 * 8) {
      float sum[8] = {};
      for (int k = 0; k < top_k; ++k) {
        const int row = rows[slot + k];
        if (row < 0) continue;
        const int column = indices ? indices[slot + k] : k;
        const float w = widen(weights[static_cast<size_t>(t) * weight_columns + column]);
        const uint4 v = load_streaming_16(expert_outputs + static_cast<size_t>(row) * width + c);
        const uint32_t pairs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const float2 pair = unpack2<T>(pairs[i]);
          sum[2 * i] = fmaf(w, pair.x, sum[2 * i]);
          sum[2 * i + 1] = fmaf(w, pair.y, sum[2 * i + 1]);
        }
      }
      store_streaming_16(out + static_cast<size_t>(t) * width + c,
                         make_uint4(pack2<T>(sum[0], sum[1]), pack2<T>(sum[2], sum[3]), pack2<T>(sum[4], sum[5]),
                                    pack2<T>(sum[6], sum[7])));
    }
  }
}

}  // namespace yamoe

extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads)
    combine_f16(const __half* expert_outputs, const int* rows, const __half* weights, const int* indices, __half* out,
                int tokens, int top_k, int weight_columns, int width) {
  yamoe::combine(expert_outputs, rows, weights, indices, out, tokens, top_k, weight_columns, width);
}
