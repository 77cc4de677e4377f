// The small kernels between the large ones: they select rows and compute which rows to select. Bound by memory.
#include <ptx.cuh>

namespace yamoe {

constexpr int kOpThreads = 256;

// out[i] = source[indices[i]], in rows of `units` Units; zeros for an index outside of the source.
template <class Unit>
struct SelectRowsArguments {
  const Unit* source;  // [source_rows][units]
  const int* indices;  // [rows]
  Unit* out;           // [rows][units]
  int rows, source_rows, units;
};

// tokens[e][c] = the token of the c-th assignment of bin e, or -1.
struct BinTokensArguments {
  const int* order;  // [n]: the assignments, sorted by bin
  const int* ends;   // [bins]: the position in `order` at which each bin ends
  int* tokens;       // [bins][capacity]
  int n, bins, capacity, top_k;
};

// rows[i] = the row of assignment i in bins of `capacity` rows: the way back. `rows` must be -1 before; it stays so for
// an assignment that found no room in its bin or that `order` does not name. For one that it names twice, the last row
// counts.
struct BinRowsArguments {
  const int* order;  // as above
  const int* ends;   // as above
  int* rows;         // [n]
  int n, bins, capacity;
};

struct FillArguments {
  void* out;
  long long count;  // elements
  int bits;         // of an element
  int bytes;        // of an element: 2 or 4
};

struct CopyWordsArguments {
  const int* source;
  int* out;
  int n;
};

// The offsets of a grouped GEMM whose groups all have `rows` rows and `tiles` row tiles.
struct EvenOffsetsArguments {
  int* row_offsets;   // [groups + 1]
  int* tile_offsets;  // [groups + 1]
  int groups, rows, tiles;
};

// Grids have any size: each thread takes every item_step()-th item, or each warp every row_step()-th row.
__device__ __forceinline__ int first_item() { return static_cast<int>(blockIdx.x) * kOpThreads + threadIdx.x; }
__device__ __forceinline__ int item_step() { return static_cast<int>(gridDim.x) * kOpThreads; }
__device__ __forceinline__ int first_row() { return first_item() / 32; }
__device__ __forceinline__ int row_step() { return item_step() / 32; }

__device__ __forceinline__ bool in_range(int index, int size) {
  return static_cast<unsigned>(index) < static_cast<unsigned>(size);
}

// The position in `order` at which a bin ends, whatever `ends` contains: at most n, and at least 0.
__device__ __forceinline__ int bin_end(const int* ends, int bin, int n) {
  return bin < 0 ? 0 : max(0, min(ends[bin], n));
}

template <class Unit>
__device__ __forceinline__ void select_rows(const Unit* __restrict__ source, Unit* __restrict__ out,
                                            const SelectRowsArguments<Unit>& p) {
  for (int row = first_row(); row < p.rows; row += row_step()) {
    const int index = p.indices[row];
    const bool exists = in_range(index, p.source_rows);
    const Unit* const from = source + static_cast<size_t>(exists ? index : 0) * p.units;
    Unit* const to = out + static_cast<size_t>(row) * p.units;
    for (int i = threadIdx.x & 31; i < p.units; i += 32) to[i] = exists ? from[i] : Unit{};
  }
}

}  // namespace yamoe

#define YAMOE_SELECT_ROWS(bytes, Unit)                                \
  extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads)     \
      select_rows_##bytes(const yamoe::SelectRowsArguments<Unit> p) { \
    yamoe::follow_previous_kernel();                                  \
    yamoe::select_rows(p.source, p.out, p);                           \
  }
YAMOE_SELECT_ROWS(2, unsigned short)
YAMOE_SELECT_ROWS(4, unsigned)
YAMOE_SELECT_ROWS(16, uint4)

// The contents of `order` and `ends` may be anything: whatever does not name an assignment selects nothing.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) bin_tokens(const yamoe::BinTokensArguments p) {
  yamoe::follow_previous_kernel();
  const int count = p.bins * p.capacity;
  for (int i = yamoe::first_item(); i < count; i += yamoe::item_step()) {
    const int bin = i / p.capacity;
    const int begin = yamoe::bin_end(p.ends, bin - 1, p.n);
    const int left = yamoe::bin_end(p.ends, bin, p.n) - begin;
    const int c = i % p.capacity;
    const int assignment = c < left ? p.order[begin + c] : -1;
    p.tokens[i] = yamoe::in_range(assignment, p.n) ? assignment / p.top_k : -1;
  }
}

extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) bin_rows(const yamoe::BinRowsArguments p) {
  yamoe::follow_previous_kernel();
  for (int position = yamoe::first_item(); position < p.n; position += yamoe::item_step()) {
    int bin = 0;  // the first that ends after the position
    for (int upper = p.bins - 1; bin < upper;) {
      const int middle = (bin + upper) / 2;
      if (p.ends[middle] > position) {
        upper = middle;
      } else {
        bin = middle + 1;
      }
    }
    const int c = position - yamoe::bin_end(p.ends, bin - 1, p.n);
    const int assignment = p.order[position];
    if (position < p.ends[bin] && yamoe::in_range(c, p.capacity) && yamoe::in_range(assignment, p.n)) {
      atomicMax(&p.rows[assignment], bin * p.capacity + c);
    }
  }
}

extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) fill(const yamoe::FillArguments p) {
  yamoe::follow_previous_kernel();
  for (long long i = yamoe::first_item(); i < p.count; i += yamoe::item_step()) {
    if (p.bytes == 2) {
      static_cast<unsigned short*>(p.out)[i] = static_cast<unsigned short>(p.bits);
    } else {
      static_cast<int*>(p.out)[i] = p.bits;
    }
  }
}

extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) copy_words(const yamoe::CopyWordsArguments p) {
  yamoe::follow_previous_kernel();
  for (int i = yamoe::first_item(); i < p.n; i += yamoe::item_step()) p.out[i] = p.source[i];
}

// One block.
extern "C" __global__ void __launch_bounds__(yamoe::kOpThreads) even_offsets(const yamoe::EvenOffsetsArguments p) {
  yamoe::follow_previous_kernel();
  for (int g = threadIdx.x; g <= p.groups; g += yamoe::kOpThreads) {
    p.row_offsets[g] = g * p.rows;
    p.tile_offsets[g] = g * p.tiles;
  }
}
