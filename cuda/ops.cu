// The small steps between the large ones: rows that are selected, scaled, added up, and where they lie. Bound by memory.
#include <ptx.cuh>

#include "elements.cuh"

namespace yamoe {

constexpr int kOpThreads = 256;

// Work is shared out in a grid of any size: an item a thread, or a row a warp.
__device__ __forceinline__ int first_item() { return static_cast<int>(blockIdx.x) * kOpThreads + threadIdx.x; }
__device__ __forceinline__ int item_step() { return static_cast<int>(gridDim.x) * kOpThreads; }
__device__ __forceinline__ int first_row() { return first_item() / 32; }
__device__ __forceinline__ int row_step() { return item_step() / 32; }

// out[i] = source[indices[i]], rows of `units` Units; zeros where the index names no row.
template <class Unit>
__device__ __forceinline__ void select_rows(const Unit* __restrict__ source, const int* __restrict__ indices,
                                            Unit* __restrict__ out, int rows, int source_rows, int units) {
  for (int row = first_row(); row < rows; row += row_step()) {
    const int index = indices[row];
    const bool there = static_cast<unsigned>(index) < static_cast<unsigned>(source_rows);
    const Unit* const from = source + static_cast<size_t>(there ? index : 0) * units;
    Unit* const to = out + static_cast<size_t>(row) * units;
    for (int i = threadIdx.x & 31; i < units; i += 32) to[i] = there ? from[i] : Unit{};
  }
}

// out[t * top_k + k] = x[t] * weights[t][k].
template <int kCount, class T>
__device__ __forceinline__ void scale_rows(const T* __restrict__ x, const float* __restrict__ weights,
                                           T* __restrict__ out, int rows, int top_k, int width) {
  for (int row = first_row(); row < rows; row += row_step()) {
    const T* const from = x + static_cast<size_t>(row / top_k) * width;
    T* const to = out + static_cast<size_t>(row) * width;
    const float weight = weights[row];
    for (int c = (threadIdx.x & 31) * kCount; c < width; c += 32 * kCount) {
      float values[kCount];
      load_elements(from + c, values);
#pragma unroll
      for (int i = 0; i < kCount; ++i) values[i] *= weight;
      store_elements(to + c, values);
    }
  }
}

// out[t] = the sum of x[t * slots] and the slots - 1 rows after it, in order, and of addend[t], where that is given, times
// addend_weights[t] or 1.
template <int kCount, class T>
__device__ __forceinline__ void sum_rows(const T* __restrict__ x, const T* __restrict__ addend,
                                         const float* __restrict__ addend_weights, T* __restrict__ out, int rows,
                                         int slots, int width) {
  for (int row = first_row(); row < rows; row += row_step()) {
    const T* const from = x + static_cast<size_t>(row) * slots * width;
    const size_t start = static_cast<size_t>(row) * width;
    for (int c = (threadIdx.x & 31) * kCount; c < width; c += 32 * kCount) {
      float sum[kCount];
      load_elements(from + c, sum);
      const auto add = [&](const T* other, float weight) {
        float values[kCount];
        load_elements(other + c, values);
#pragma unroll
        for (int i = 0; i < kCount; ++i) sum[i] = fmaf(weight, values[i], sum[i]);
      };
      for (int s = 1; s < slots; ++s) add(from + static_cast<size_t>(s) * width, 1.0f);
      if (addend) add(addend + start, addend_weights ? addend_weights[row] : 1.0f);
      store_elements(out + start + c, sum);
    }
  }
}

}  // namespace yamoe

#define YAMOE_SELECT_ROWS(bytes, Unit)                                                                                   \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) select_rows_##bytes(                                    \
      const Unit* source, const int* indices, Unit* out, int rows, int source_rows, int units) {                          \
    yamoe::select_rows(source, indices, out, rows, source_rows, units);                                                   \
  }
YAMOE_SELECT_ROWS(2, unsigned short)
YAMOE_SELECT_ROWS(4, unsigned)
YAMOE_SELECT_ROWS(16, uint4)

// Rows whose bytes are a multiple of 16 are gone through by 16 bytes, others by elements.
#define YAMOE_ROW_OPS(suffix, T)                                                                                         \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads, 4) scale_rows_##suffix(                                 \
      const T* x, const float* weights, T* out, int rows, int top_k, int width) {                                         \
    constexpr int kCount = yamoe::kElements<T>;                                                                           \
    if (width % kCount == 0) {                                                                                            \
      yamoe::scale_rows<kCount>(x, weights, out, rows, top_k, width);                                                     \
    } else {                                                                                                              \
      yamoe::scale_rows<1>(x, weights, out, rows, top_k, width);                                                          \
    }                                                                                                                     \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads, 4) sum_rows_##suffix(                                   \
      const T* x, const T* addend, const float* addend_weights, T* out, int rows, int slots, int width) {                 \
    constexpr int kCount = yamoe::kElements<T>;                                                                           \
    if (width % kCount == 0) {                                                                                            \
      yamoe::sum_rows<kCount>(x, addend, addend_weights, out, rows, slots, width);                                        \
    } else {                                                                                                              \
      yamoe::sum_rows<1>(x, addend, addend_weights, out, rows, slots, width);                                             \
    }                                                                                                                     \
  }
YAMOE_ROW_OPS(f32, float)
YAMOE_ROW_OPS(f16, __half)
YAMOE_ROW_OPS(bf16, __nv_bfloat16)

// tokens[e][c] = the token of the c-th of expert e's assignments, -1 where it has fewer. `order` has all assignments in expert
// order, `ends[e]` how many there are of the experts up to e.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads)
    bin_tokens(const int* order, const int* ends, int* tokens, int experts, int capacity, int top_k) {
  const int count = experts * capacity;
  for (int i = yamoe::first_item(); i < count; i += yamoe::item_step()) {
    const int e = i / capacity;
    const int place = (e == 0 ? 0 : ends[e - 1]) + i % capacity;
    tokens[i] = place < ends[e] ? order[place] / top_k : -1;
  }
}

// rows[i] = the row of assignment i in bins of `capacity` rows, -1 where its expert's are full: the way back.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads)
    bin_rows(const int* order, const int* ends, int* rows, int n, int experts, int capacity) {
  for (int place = yamoe::first_item(); place < n; place += yamoe::item_step()) {
    int e = 0;  // the first whose end lies past the place
    for (int upper = experts - 1; e < upper;) {
      const int middle = (e + upper) / 2;
      if (ends[middle] > place) {
        upper = middle;
      } else {
        e = middle + 1;
      }
    }
    const int c = place - (e == 0 ? 0 : ends[e - 1]);
    const int assignment = order[place];
    if (static_cast<unsigned>(assignment) < static_cast<unsigned>(n)) rows[assignment] = c < capacity ? e * capacity + c : -1;
  }
}

// Fills elements of 2 or 4 bytes with the same bits.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) fill(void* out, int n, int bits, int bytes) {
  for (int i = yamoe::first_item(); i < n; i += yamoe::item_step()) {
    if (bytes == 2) {
      static_cast<unsigned short*>(out)[i] = static_cast<unsigned short>(bits);
    } else {
      static_cast<int*>(out)[i] = bits;
    }
  }
}

extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) copy_words(const int* from, int* to, int n) {
  for (int i = yamoe::first_item(); i < n; i += yamoe::item_step()) to[i] = from[i];
}

// The offsets of a grouped GEMM whose groups are all of `rows` rows and `tiles` tiles. One block.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads)
    even_offsets(int* row_offsets, int* tile_offsets, int groups, int rows, int tiles) {
  for (int g = threadIdx.x; g <= groups; g += yamoe::kOpThreads) {
    row_offsets[g] = g * rows;
    tile_offsets[g] = g * tiles;
  }
}
