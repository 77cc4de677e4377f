// The kernels around an exchange of rows between GPUs. Bound by memory.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

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

// out[t] = the sum over the ranks of parts[rank][t], in the order of the ranks, + addend_weights[t] * addend[t]. Rounded once.
template <class T>
struct SumPartsArguments {
  const T* parts;               // [ranks][tokens][width]
  const T* addend;              // [tokens][width], or null
  const float* addend_weights;  // [tokens], or null for 1
  T* out;                       // [tokens][width]
  long long count;              // tokens * width
  int ranks, width;
};

__device__ __forceinline__ long long first_element() {
  return static_cast<long long>(blockIdx.x) * kExchangeThreads + threadIdx.x;
}
__device__ __forceinline__ long long element_step() { return static_cast<long long>(gridDim.x) * kExchangeThreads; }

// Each thread sums kCount columns.
template <int kCount, class T>
__device__ __forceinline__ void sum_parts(const SumPartsArguments<T>& p) {
  for (long long i = first_element() * kCount; i < p.count; i += element_step() * kCount) {
    float sums[kCount] = {};
    const auto add = [&](const T* from, float weight) {
      float v[kCount];
      widen_elements<T>(load_elements<kCount>(from + i), v);
#pragma unroll
      for (int c = 0; c < kCount; ++c) sums[c] = fmaf(weight, v[c], sums[c]);
    };
    for (int rank = 0; rank < p.ranks; ++rank) add(p.parts + rank * p.count, 1.0f);
    if (p.addend) add(p.addend, p.addend_weights ? p.addend_weights[i / p.width] : 1.0f);
    store_elements(p.out + i, sums);
  }
}

template <class T>
__device__ __forceinline__ void sum_parts(const SumPartsArguments<T>& p) {
  constexpr int kCount = 16 / sizeof(T);
  if (p.width % kCount == 0) {
    sum_parts<kCount>(p);
  } else {
    sum_parts<1>(p);
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

#define YAMOE_EXCHANGE(dtype, T)                                        \
  extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads) \
      sum_parts_##dtype(const yamoe::SumPartsArguments<T> p) {          \
    yamoe::sum_parts(p);                                                \
  }
YAMOE_EXCHANGE(f16, __half)
YAMOE_EXCHANGE(bf16, __nv_bfloat16)
YAMOE_EXCHANGE(f32, float)
