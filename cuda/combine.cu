// Each token's output row: the weighted sum of its experts' rows, in f32, in slot order, then of an addend's, with one
// rounding. Writes every row once, zeros where every assignment was dropped. Bound by memory: one warp a token, 16 bytes a lane,
// past the caches.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;

// What 32 of a token's slots ask for: lane k knows slot k.
struct Slots {
  unsigned kept;  // a bit for each slot whose assignment was kept
  int row;
  float weight;
};

// rows[t][k]: the row of `expert_outputs`, or -1. The weight of (t, k) is weights[t][k], or weights[t][indices[t][k]] where
// indices are given. addend[t], where there is one, has the weight addend_weights[t], or 1.
template <int kCount, class T>
__device__ __forceinline__ void combine(const T* __restrict__ expert_outputs, const int* __restrict__ rows,
                                        const void* __restrict__ weights, int weights_dtype,
                                        const int* __restrict__ indices, const T* __restrict__ addend,
                                        const float* __restrict__ addend_weights, T* __restrict__ out, int tokens,
                                        int top_k, int weight_columns, int width) {
  const int lane = threadIdx.x & 31;
  const int warps = gridDim.x * (kCombineThreads / 32);
  for (int t = (blockIdx.x * kCombineThreads + threadIdx.x) / 32; t < tokens; t += warps) {
    const auto load_slots = [&](int base) {
      const int k = base + lane;
      const size_t slot = static_cast<size_t>(t) * top_k + k;
      Slots s{0, k < top_k ? rows[slot] : -1, 0.0f};
      s.kept = __ballot_sync(0xffffffffu, s.row >= 0);
      if (s.row >= 0) {
        const int column = indices ? indices[slot] : k;
        s.weight = load_as(weights, static_cast<size_t>(t) * weight_columns + column, weights_dtype);
      }
      return s;
    };
    const Slots first = load_slots(0);
    // All lanes go around as often, for they ask each other.
    for (int c = lane * kCount; c - lane * kCount < width; c += 32 * kCount) {
      const bool there = c < width;
      float sum[kCount] = {};
      const auto add = [&](const T* row, float weight) {
        if (!there) return;
        float v[kCount];
        load_elements(row + c, v);
#pragma unroll
        for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
      };
      const auto add_slots = [&](const Slots& s) {
        for (unsigned left = s.kept; left; left &= left - 1) {
          const int k = __ffs(left) - 1;
          const int row = __shfl_sync(0xffffffffu, s.row, k);
          add(expert_outputs + static_cast<size_t>(row) * width, __shfl_sync(0xffffffffu, s.weight, k));
        }
      };
      add_slots(first);
      for (int base = 32; base < top_k; base += 32) add_slots(load_slots(base));
      if (addend) add(addend + static_cast<size_t>(t) * width, addend_weights ? addend_weights[t] : 1.0f);
      if (there) store_elements(out + static_cast<size_t>(t) * width + c, sum);
    }
  }
}

}  // namespace yamoe

#define YAMOE_COMBINE(dtype, T)                                                                                           \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 4) combine_##dtype(                                \
      const T* expert_outputs, const int* rows, const void* weights, int weights_dtype, const int* indices,               \
      const T* addend, const float* addend_weights, T* out, int tokens, int top_k, int weight_columns, int width) {       \
    constexpr int kCount = yamoe::kElements<T>;                                                                           \
    if (width % kCount == 0) {                                                                                            \
      yamoe::combine<kCount>(expert_outputs, rows, weights, weights_dtype, indices, addend, addend_weights, out, tokens,  \
                             top_k, weight_columns, width);                                                               \
    } else {                                                                                                              \
      yamoe::combine<1>(expert_outputs, rows, weights, weights_dtype, indices, addend, addend_weights, out, tokens,       \
                        top_k, weight_columns, width);                                                                    \
    }                                                                                                                     \
  }

YAMOE_COMBINE(f16, __half)
YAMOE_COMBINE(bf16, __nv_bfloat16)
YAMOE_COMBINE(f32, float)
