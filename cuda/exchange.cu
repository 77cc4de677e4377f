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

struct TileOffsetsArguments {
  const int* row_offsets;  // [experts + 1]
  int* tile_offsets;       // [experts + 1]
  int experts;
  int first, end;  // the experts with tiles
  int tile_rows;
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

// The tile offsets of a part of the rows: the experts that do not belong to it have no tiles. One warp.
extern "C" __global__ void __launch_bounds__(32) tile_offsets(const yamoe::TileOffsetsArguments p) {
  constexpr unsigned kAll = 0xffffffffu;
  const int lane = threadIdx.x;
  int before = 0;  // the tiles of the experts before `base`
  for (int base = 0; base <= p.experts; base += 32) {
    const int expert = base + lane;
    int tiles = 0;
    if (expert >= p.first && expert < p.end) {
      tiles = (p.row_offsets[expert + 1] - p.row_offsets[expert] + p.tile_rows - 1) / p.tile_rows;
    }
    int sum = tiles;  // of the lanes up to this one
    for (int distance = 1; distance < 32; distance *= 2) {
      const int lower = __shfl_up_sync(kAll, sum, distance);
      if (lane >= distance) sum += lower;
    }
    if (expert <= p.experts) p.tile_offsets[expert] = before + sum - tiles;
    before += __shfl_sync(kAll, sum, 31);
  }
}

#define YAMOE_ROUND_SUM(dtype, T)                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::kExchangeThreads) \
      round_sum_##dtype(const yamoe::RoundSumArguments<T> p) {          \
    yamoe::round_sum(p);                                                \
  }
YAMOE_ROUND_SUM(f16, __half)
YAMOE_ROUND_SUM(bf16, __nv_bfloat16)
YAMOE_ROUND_SUM(f32, float)
