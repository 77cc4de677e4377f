// Computes each token's output row: the weighted sum of its experts' rows, in f32, in slot order, then of an addend's
// row, with one rounding. Every row is written once; a token without a kept assignment gets zeros. The kernel is bound
// by memory: each lane loads 16 bytes of several rows at once. One warp computes a token if there are many; otherwise
// several warps divide the columns. The order of a sum does not depend on that. A grid with fewer warps than tokens,
// looping over them, was 15 % slower.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

namespace yamoe {

constexpr int kCombineThreads = 256;
constexpr unsigned kWarp = 0xffffffffu;

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
  int warps;  // per token
};

// Slots whose rows are loaded before the first of them is added.
constexpr int kCombineSlots = 8;

template <int kCount, class T>
__device__ __forceinline__ void combine(const CombineArguments<T>& p) {
  const int lane = threadIdx.x & 31;
  const int warp = static_cast<int>(blockIdx.x) * static_cast<int>(blockDim.x / 32) + threadIdx.x / 32;
  const int t = warp / p.warps;
  wait_for_previous_kernel();
  allow_next_kernel();
  if (t >= p.tokens) return;
  const size_t slot = static_cast<size_t>(t) * p.top_k;
  for (int first = warp % p.warps * 32 * kCount; first < p.width; first += p.warps * 32 * kCount) {
    const int c = first + lane * kCount;
    const bool inside = c < p.width;
    float sum[kCount] = {};
    const auto add = [&](const Elements<T, kCount>& elements, float weight) {
      float v[kCount];
      widen_elements<T>(elements, v);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
    };
    for (int base = 0; base < p.top_k; base += 32) {
      // Each lane loads the row and the weight of a slot.
      const int k = base + lane;
      const int own_row = k < p.top_k ? p.rows[slot + k] : -1;
      float own_weight = 0.0f;
      if (own_row >= 0) {
        const int column = p.indices ? p.indices[slot + k] : k;
        own_weight = load_as(p.weights, static_cast<size_t>(t) * p.weight_columns + column, p.weights_dtype);
      }
      for (int i = 0; i < 32 && base + i < p.top_k; i += kCombineSlots) {
        Elements<T, kCount> elements[kCombineSlots];
#pragma unroll
        for (int j = 0; j < kCombineSlots; ++j) {
          const int row = __shfl_sync(kWarp, own_row, i + j);
          if (row >= 0 && inside) {
            elements[j] = load_elements<kCount>(p.expert_outputs + static_cast<size_t>(row) * p.width + c);
          }
        }
#pragma unroll
        for (int j = 0; j < kCombineSlots; ++j) {
          const bool kept = __shfl_sync(kWarp, own_row, i + j) >= 0;
          const float weight = __shfl_sync(kWarp, own_weight, i + j);
          if (kept && inside) add(elements[j], weight);
        }
      }
    }
    if (!inside) continue;
    if (p.addend) {
      add(load_elements<kCount>(p.addend + static_cast<size_t>(t) * p.width + c),
          p.addend_weights ? p.addend_weights[t] : 1.0f);
    }
    store_elements(p.out + static_cast<size_t>(t) * p.width + c, sum);
  }
}

}  // namespace yamoe

#define YAMOE_COMBINE(dtype, T)                                           \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 3) \
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
