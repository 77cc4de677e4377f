// The small steps between the large ones: rows that are selected, and where they lie. Bound by memory.
#include <ptx.cuh>

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

}  // namespace yamoe

#define YAMOE_SELECT_ROWS(bytes, Unit)                                                                               \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads)                                                    \
      select_rows_##bytes(const Unit* source, const int* indices, Unit* out, int rows, int source_rows, int units) { \
    yamoe::select_rows(source, indices, out, rows, source_rows, units);                                              \
  }
YAMOE_SELECT_ROWS(2, unsigned short)
YAMOE_SELECT_ROWS(4, unsigned)
YAMOE_SELECT_ROWS(16, uint4)

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
    if (static_cast<unsigned>(assignment) < static_cast<unsigned>(n))
      rows[assignment] = c < capacity ? e * capacity + c : -1;
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
