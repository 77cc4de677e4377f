// A stable counting sort of assignments by expert, with the capacity applied. A short list is sorted by one kernel with
// one block, a long one by three: histogram, scan, rank. The results are the same and deterministic: positions come from
// counts, never from the order in which atomics arrive.
//
// The three kernels split the n = tokens * top_k indices into one chunk per block. `counts` is [experts][blocks].
#include "block_sort.cuh"

namespace yamoe {

constexpr int kSortThreads = 256;
constexpr int kSortWarps = kSortThreads / 32;
constexpr int kScanThreads = 1024;  // one for each expert

constexpr int kSmallThreads = 1024;  // one for each expert
constexpr int kSmallSets = 4;        // sets of 32 consecutive assignments per warp
constexpr int kSmallPart = kSmallSets * 32;
constexpr int kSmallLimit = kSmallThreads / 32 * kSmallPart;
static_assert(kSmallLimit < 1 << 15, "counts have 16 bits, and two sums share an int");

struct HistogramArguments {
  const int* indices;  // [n]
  int* counts;         // out: how often each expert occurs in each chunk
  int n, chunk, experts;
};

struct ScanArguments {
  int* counts;        // in: the histogram; out: each expert's assignments in the chunks before each chunk
  int* totals;        // [experts]: assignments of each expert, before the capacity is applied
  int* row_offsets;   // [experts + 1]: kept assignments of the experts before each; the last is the number of rows
  int* tile_offsets;  // [experts + 1]: tiles of the experts before each; the last is the number of tiles
  int experts, blocks, capacity, tile_rows;
};

struct RankArguments {
  const int* indices;          // [n]
  const int* counts;           // as the scan writes it
  const int* row_offsets;      // as the scan writes it
  const float* input_weights;  // [n], or null
  int* rows;                   // [n]: the row of each assignment among the kept ones, or -1
  int* row_tokens;             // [rows]: the token of each row
  float* row_scales;           // [rows]: the input weight of each row, unless input_weights is null
  int n, chunk, experts, top_k, capacity;
};

struct SortSmallArguments {
  const int* indices;          // [n]
  const float* input_weights;  // [n], or null
  int* totals;                 // [experts]; this and the others as the three kernels write them
  int* row_offsets;            // [experts + 1]
  int* tile_offsets;           // [experts + 1]
  int* rows;                   // [n], or null to write only the counts and offsets
  int* row_tokens;             // [rows]
  float* row_scales;           // [rows], unless input_weights is null
  int n, experts, top_k, capacity, tile_rows;
  int warps;  // that have assignments: at least n / kSmallPart
};

// The running sum over a warp's lanes, including this lane.
__device__ __forceinline__ int warp_inclusive_sum(int value, int lane) {
#pragma unroll
  for (int distance = 1; distance < 32; distance <<= 1) {
    const int other = __shfl_up_sync(kFullWarp, value, distance);
    if (lane >= distance) value += other;
  }
  return value;
}

// Assignments to an unknown expert are dropped.
__device__ __forceinline__ bool is_expert(int expert, int experts) {
  return static_cast<unsigned>(expert) < static_cast<unsigned>(experts);
}

}  // namespace yamoe

// Sorts up to kSmallLimit assignments. The block has a thread for each expert and `warps` warps for the assignments. Each
// of these ranks its assignments among its own. Then each expert's thread adds up the warps' counts.
// Dynamic shared memory: `experts` ints, then numbers of 16 bits: for each of the `warps` the counts of all experts,
// rounded up to a multiple of 8, and the `n` assignments in the order of their rows.
extern "C" __global__ void __launch_bounds__(yamoe::kSmallThreads) sort_small(const yamoe::SortSmallArguments p) {
  using namespace yamoe;
  __shared__ int warp_sums[32];
  __shared__ int rows;
  int* const first_rows = reinterpret_cast<int*>(dynamic_smem());
  const int stride = (p.experts + 7) & ~7;
  unsigned short* const counts = reinterpret_cast<unsigned short*>(first_rows + ((p.experts + 3) & ~3));
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  unsigned short* const mine = counts + warp * stride;
  unsigned short* const order = counts + p.warps * stride;
  const int sets = (p.n + p.warps * 32 - 1) / (p.warps * 32);

  if (warp < p.warps) {
    for (int i = lane; i < stride / 8; i += 32) reinterpret_cast<uint4*>(mine)[i] = make_uint4(0, 0, 0, 0);
  }
  follow_previous_kernel();

  int experts[kSmallSets], ranks[kSmallSets];
#pragma unroll
  for (int s = 0; s < kSmallSets; ++s) {
    const int i = (warp * sets + s) * 32 + lane;
    const bool exists = s < sets && warp < p.warps && i < p.n;
    experts[s] = exists ? p.indices[i] : -1;
  }
  __syncwarp();
#pragma unroll
  for (int s = 0; s < kSmallSets; ++s) {
    ranks[s] = 0;
    if (s >= sets || warp >= p.warps) continue;
    const bool ok = is_expert(experts[s], p.experts);
    const unsigned peers = lanes_with(ok ? experts[s] : p.experts, p.experts);
    const unsigned before = peers & ((1u << lane) - 1);
    const int first = ok ? mine[experts[s]] : 0;
    ranks[s] = first + __popc(before);
    __syncwarp();  // every peer reads the count before one of them updates it
    if (ok && before == 0) mine[experts[s]] = static_cast<unsigned short>(first + __popc(peers));
    __syncwarp();
  }
  __syncthreads();

  const int e = threadIdx.x;
  int all = 0;
  for (int base = 0; e < p.experts && base < p.warps; base += 8) {
    int of_warps[8];
#pragma unroll
    for (int w = 0; w < 8; ++w) of_warps[w] = base + w < p.warps ? counts[(base + w) * stride + e] : 0;
#pragma unroll
    for (int w = 0; w < 8; ++w) {
      if (base + w < p.warps) counts[(base + w) * stride + e] = static_cast<unsigned short>(all);
      all += of_warps[w];
    }
  }
  const int kept = min(all, p.capacity);
  const int tiles = (kept + p.tile_rows - 1) / p.tile_rows;
  const int pair = kept << 16 | tiles;  // both sums at once
  int sum = warp_inclusive_sum(pair, lane);
  if (lane == 31) warp_sums[warp] = sum;
  __syncthreads();
  for (int w = 0; w < warp; ++w) sum += warp_sums[w];
  if (e < p.experts) {
    first_rows[e] = (sum - pair) >> 16;
    p.totals[e] = all;
    p.row_offsets[e + 1] = sum >> 16;
    p.tile_offsets[e + 1] = sum & 0xffff;
    if (e == p.experts - 1) rows = sum >> 16;
  }
  if (e == 0) {
    p.row_offsets[0] = 0;
    p.tile_offsets[0] = 0;
  }
  if (!p.rows) return;
  __syncthreads();

#pragma unroll
  for (int s = 0; s < kSmallSets; ++s) {
    const int i = (warp * sets + s) * 32 + lane;
    if (s >= sets || warp >= p.warps || i >= p.n) continue;
    const int expert = experts[s];
    const bool ok = is_expert(expert, p.experts);
    const int rank = ok ? mine[expert] + ranks[s] : 0;
    const bool is_kept = ok && rank < p.capacity;
    const int row = is_kept ? first_rows[expert] + rank : -1;
    p.rows[i] = row;
    if (is_kept) order[row] = static_cast<unsigned short>(i);
  }
  __syncthreads();
  // Consecutive threads write consecutive rows.
  for (int row = threadIdx.x; row < rows; row += blockDim.x) {
    const int i = order[row];
    p.row_tokens[row] = i / p.top_k;
    if (p.input_weights) p.row_scales[row] = p.input_weights[i];
  }
}

// Dynamic shared memory: `experts` ints.
extern "C" __global__ void __launch_bounds__(yamoe::kSortThreads) sort_histogram(const yamoe::HistogramArguments p) {
  int* const histogram = reinterpret_cast<int*>(yamoe::dynamic_smem());
  for (int e = threadIdx.x; e < p.experts; e += yamoe::kSortThreads) histogram[e] = 0;
  yamoe::follow_previous_kernel();
  __syncthreads();
  const int begin = blockIdx.x * p.chunk;
  const int end = min(p.n, begin + p.chunk);
  for (int i = begin + threadIdx.x; i < end; i += yamoe::kSortThreads) {
    const int e = p.indices[i];
    if (yamoe::is_expert(e, p.experts)) atomicAdd(&histogram[e], 1);
  }
  __syncthreads();
  for (int e = threadIdx.x; e < p.experts; e += yamoe::kSortThreads)
    p.counts[e * gridDim.x + blockIdx.x] = histogram[e];
}

// One block of kScanThreads threads. Dynamic shared memory: `experts` ints.
extern "C" __global__ void __launch_bounds__(yamoe::kScanThreads) sort_scan(const yamoe::ScanArguments p) {
  int* const total = reinterpret_cast<int*>(yamoe::dynamic_smem());
  __shared__ int warp_rows[32];
  __shared__ int warp_tiles[32];
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;

  yamoe::follow_previous_kernel();
  for (int e = warp; e < p.experts; e += 32) {
    int carry = 0;
    for (int base = 0; base < p.blocks; base += 32) {
      const int b = base + lane;
      const int count = b < p.blocks ? p.counts[e * p.blocks + b] : 0;
      const int sum = yamoe::warp_inclusive_sum(count, lane);
      if (b < p.blocks) p.counts[e * p.blocks + b] = carry + sum - count;
      carry += __shfl_sync(yamoe::kFullWarp, sum, 31);
    }
    if (lane == 0) total[e] = carry;
  }
  __syncthreads();

  const int e = threadIdx.x;
  const int all = e < p.experts ? total[e] : 0;
  const int rows = min(all, p.capacity);
  const int tiles = (rows + p.tile_rows - 1) / p.tile_rows;
  const int row_sum = yamoe::warp_inclusive_sum(rows, lane);
  const int tile_sum = yamoe::warp_inclusive_sum(tiles, lane);
  if (lane == 31) {
    warp_rows[warp] = row_sum;
    warp_tiles[warp] = tile_sum;
  }
  __syncthreads();
  int rows_before = 0;
  int tiles_before = 0;
  for (int w = 0; w < warp; ++w) {
    rows_before += warp_rows[w];
    tiles_before += warp_tiles[w];
  }
  if (e < p.experts) {
    p.totals[e] = all;
    p.row_offsets[e + 1] = rows_before + row_sum;
    p.tile_offsets[e + 1] = tiles_before + tile_sum;
  }
  if (e == 0) {
    p.row_offsets[0] = 0;
    p.tile_offsets[0] = 0;
  }
}

// Each warp walks its own part of the chunk in order, 32 indices at a time, and keeps a running count of every expert.
// Equal indices within the 32 find each other with a vote. Dynamic shared memory: kSortWarps * experts ints.
extern "C" __global__ void __launch_bounds__(yamoe::kSortThreads) sort_rank(const yamoe::RankArguments p) {
  int* const next = reinterpret_cast<int*>(yamoe::dynamic_smem());  // [kSortWarps][experts]
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  int* const mine = next + warp * p.experts;

  const int chunk_end = min(p.n, static_cast<int>(blockIdx.x + 1) * p.chunk);
  const int part = p.chunk / yamoe::kSortWarps;
  const int begin = blockIdx.x * p.chunk + warp * part;
  const int end = min(chunk_end, begin + part);

  for (int i = threadIdx.x; i < yamoe::kSortWarps * p.experts; i += yamoe::kSortThreads) next[i] = 0;
  yamoe::follow_previous_kernel();
  __syncthreads();
  for (int i = begin + lane; i < end; i += 32) {
    const int e = p.indices[i];
    if (yamoe::is_expert(e, p.experts)) atomicAdd(&mine[e], 1);
  }
  __syncthreads();
  // Turns each warp's counts into the rank of its first assignment of each expert.
  for (int e = threadIdx.x; e < p.experts; e += yamoe::kSortThreads) {
    int sum = p.counts[e * gridDim.x + blockIdx.x];
    for (int w = 0; w < yamoe::kSortWarps; ++w) {
      const int count = next[w * p.experts + e];
      next[w * p.experts + e] = sum;
      sum += count;
    }
  }
  __syncthreads();

  for (int base = begin; base < end; base += 32) {
    const int i = base + lane;
    const int e = i < end ? p.indices[i] : -1;
    const bool ok = i < end && yamoe::is_expert(e, p.experts);
    const unsigned peers = yamoe::lanes_with(ok ? e : p.experts, p.experts);
    const unsigned before = peers & ((1u << lane) - 1);
    const int first = ok ? mine[e] : 0;
    const int rank = first + __popc(before);
    __syncwarp();  // every peer reads the count before one of them updates it
    if (ok && before == 0) mine[e] = first + __popc(peers);
    __syncwarp();
    if (i < end) {
      const bool kept = ok && rank < p.capacity;
      const int row = kept ? p.row_offsets[e] + rank : -1;
      p.rows[i] = row;
      if (kept) p.row_tokens[row] = i / p.top_k;
      if (kept && p.input_weights) p.row_scales[row] = p.input_weights[i];
    }
  }
}
