// The kernels around an exchange of rows between GPUs. Bound by memory.
#include <ptx.cuh>

#include "dtype.cuh"
#include "element.cuh"

namespace yamoe {

constexpr int kExchangeThreads = 256;

// experts[i] = the expert of the i-th received row, counted from the first expert of this GPU. The rows come from GPU after GPU, those
// of each in the order of their experts.
struct ReceivedExpertsArguments {
  const int* offsets;  // [ranks][stride], of which the first integers are the first row of every expert, and the end
  int* out;            // [rows]
  int ranks, stride;
  int first, count;  // the experts of this GPU
  int rows;
};

// out[i] = indices[i] - first, or -1 for an expert of another GPU.
struct LocalExpertsArguments {
  const int* indices;  // [n]
  int* out;            // [n]
  int n, first, count;
};

// out[t] = the sum over this GPU's assignments of a token, in the order of their slots. Not rounded.
template <class T>
struct PartialSumArguments {
  const T* expert_outputs;  // [rows][width]
  const int* rows;          // [tokens][top_k]: a row of expert_outputs, or -1
  const void* weights;      // [tokens][weight_columns]
  const int* indices;       // [tokens][top_k]: the column of each slot's weight; null: column k for slot k
  float* out;               // [tokens][width]
  long long count;          // tokens * width
  int weights_dtype, top_k, weight_columns, width;
};

// out[t] = sums[t] + addend_weights[t] * addend[t], rounded.
template <class T>
struct RoundSumArguments {
  const float* sums;            // [tokens][width]
  const T* addend;              // [tokens][width], or null
  const float* addend_weights;  // [tokens], or null for 1
  T* out;                       // [tokens][width]
  long long count;              // tokens * width
  int width;
};

__device__ __forceinline__ long long first_element() {
  return static_cast<long long>(blockIdx.x) * kExchangeThreads + threadIdx.x;
}
__device__ __forceinline__ long long element_step() { return static_cast<long long>(gridDim.x) * kExchangeThreads; }

template <class T>
__device__ __forceinline__ void partial_sum(const PartialSumArguments<T>& p) {
  for (long long i = first_element(); i < p.count; i += element_step()) {
    const long long token = i / p.width;
    const int column = static_cast<int>(i - token * p.width);
    float sum = 0.0f;
    for (int k = 0; k < p.top_k; ++k) {
      const int row = p.rows[token * p.top_k + k];
      if (row < 0) continue;
      const int weight = p.indices ? p.indices[token * p.top_k + k] : k;
      sum = fmaf(load_as(p.weights, token * p.weight_columns + weight, p.weights_dtype),
                 widen(p.expert_outputs[static_cast<size_t>(row) * p.width + column]), sum);
    }
    p.out[i] = sum;
  }
}

template <class T>
__device__ __forceinline__ void round_sum(const RoundSumArguments<T>& p) {
  for (long long i = first_element(); i < p.count; i += element_step()) {
    float sum = p.sums[i];
    if (p.addend) sum = fmaf(p.addend_weights ? p.addend_weights[i / p.width] : 1.0f, widen(p.addend[i]), sum);
    p.out[i] = narrow<T>(sum);
  }
}

}  // namespace yamoe

extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads)
    received_experts(const yamoe::ReceivedExpertsArguments p) {
  for (long long row = yamoe::first_element(); row < p.rows; row += yamoe::element_step()) {
    int left = static_cast<int>(row);
    const int* offsets = p.offsets + p.first;
    for (int rank = 1; rank < p.ranks && left >= offsets[p.count] - offsets[0]; ++rank) {
      left -= offsets[p.count] - offsets[0];
      offsets += p.stride;
    }
    int expert = 0;  // the last one that begins at or before the row
    for (int upper = p.count - 1; expert < upper;) {
      const int middle = (expert + upper + 1) / 2;
      if (offsets[middle] - offsets[0] <= left) {
        expert = middle;
      } else {
        upper = middle - 1;
      }
    }
    p.out[row] = expert;
  }
}

extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads)
    local_experts(const yamoe::LocalExpertsArguments p) {
  for (long long i = yamoe::first_element(); i < p.n; i += yamoe::element_step()) {
    const int expert = p.indices[i] - p.first;
    p.out[i] = static_cast<unsigned>(expert) < static_cast<unsigned>(p.count) ? expert : -1;
  }
}

#define YAMOE_EXCHANGE(dtype, T)                                                                                   \
  extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads)                                            \
      partial_sum_##dtype(const yamoe::PartialSumArguments<T> p) {                                                 \
    yamoe::partial_sum(p);                                                                                         \
  }                                                                                                                \
  extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads)                                            \
      round_sum_##dtype(const yamoe::RoundSumArguments<T> p) {                                                     \
    yamoe::round_sum(p);                                                                                           \
  }
YAMOE_EXCHANGE(f16, __half)
YAMOE_EXCHANGE(bf16, __nv_bfloat16)
YAMOE_EXCHANGE(f32, float)
