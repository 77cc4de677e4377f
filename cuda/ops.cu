// The small steps between the large ones: rows that are selected, scaled, added up, and where they lie. Bound by memory.
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

constexpr int kOpThreads = 256;

// Work is shared out in a grid of any size: an item a thread, or a row a warp.
__device__ __forceinline__ int first_item() { return static_cast<int>(blockIdx.x) * kOpThreads + threadIdx.x; }
__device__ __forceinline__ int item_step() { return static_cast<int>(gridDim.x) * kOpThreads; }
__device__ __forceinline__ int first_row() { return first_item() / 32; }
__device__ __forceinline__ int row_step() { return item_step() / 32; }

// Eight elements in f32, from 16 or 32 bytes.
template <class T>
__device__ __forceinline__ void load_8(float (&to)[8], const T* from) {
  const uint4 v = *reinterpret_cast<const uint4*>(from);
  const uint32_t pairs[4] = {v.x, v.y, v.z, v.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float2 pair = unpack2<T>(pairs[i]);
    to[2 * i] = pair.x;
    to[2 * i + 1] = pair.y;
  }
}
__device__ __forceinline__ void load_8(float (&to)[8], const float* from) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const float4 v = reinterpret_cast<const float4*>(from)[i];
    to[4 * i] = v.x;
    to[4 * i + 1] = v.y;
    to[4 * i + 2] = v.z;
    to[4 * i + 3] = v.w;
  }
}
template <class T>
__device__ __forceinline__ void store_8(T* to, const float (&v)[8]) {
  *reinterpret_cast<uint4*>(to) =
      make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]), pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
}
__device__ __forceinline__ void store_8(float* to, const float (&v)[8]) {
  reinterpret_cast<float4*>(to)[0] = make_float4(v[0], v[1], v[2], v[3]);
  reinterpret_cast<float4*>(to)[1] = make_float4(v[4], v[5], v[6], v[7]);
}

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

// out[t * top_k + k] = x[t] * weights[t][k]. `chunks` of 8 elements make a row.
template <class T>
__device__ __forceinline__ void scale_rows(const T* __restrict__ x, const float* __restrict__ weights,
                                           T* __restrict__ out, int rows, int top_k, int chunks) {
  for (int row = first_row(); row < rows; row += row_step()) {
    const T* const from = x + static_cast<size_t>(row / top_k) * chunks * 8;
    T* const to = out + static_cast<size_t>(row) * chunks * 8;
    const float weight = weights[row];
    for (int c = threadIdx.x & 31; c < chunks; c += 32) {
      float values[8];
      load_8(values, from + c * 8);
#pragma unroll
      for (int i = 0; i < 8; ++i) values[i] *= weight;
      store_8(to + c * 8, values);
    }
  }
}

// out[t] = the sum of x[t * slots] and the slots - 1 rows after it, in order, and of addend[t] where that is given.
template <class T>
__device__ __forceinline__ void sum_rows(const T* __restrict__ x, const T* __restrict__ addend, T* __restrict__ out,
                                         int rows, int slots, int chunks) {
  for (int row = first_row(); row < rows; row += row_step()) {
    const size_t width = static_cast<size_t>(chunks) * 8;
    const T* const from = x + row * slots * width;
    for (int c = threadIdx.x & 31; c < chunks; c += 32) {
      float sum[8];
      load_8(sum, from + c * 8);
#pragma unroll 2
      for (int s = 1; s < slots + (addend ? 1 : 0); ++s) {
        float values[8];
        load_8(values, (s < slots ? from + s * width : addend + row * width) + c * 8);
#pragma unroll
        for (int i = 0; i < 8; ++i) sum[i] += values[i];
      }
      store_8(out + row * width + c * 8, sum);
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

#define YAMOE_ROW_OPS(suffix, T)                                                                                         \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) scale_rows_##suffix(                                    \
      const T* x, const float* weights, T* out, int rows, int top_k, int chunks) {                                        \
    yamoe::scale_rows(x, weights, out, rows, top_k, chunks);                                                              \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) sum_rows_##suffix(                                      \
      const T* x, const T* addend, T* out, int rows, int slots, int chunks) {                                             \
    yamoe::sum_rows(x, addend, out, rows, slots, chunks);                                                                 \
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
