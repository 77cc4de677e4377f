// The stable counting sort of assignments by expert, with the capacity applied: histogram, scan, rank. Deterministic: places
// come from counting, never from the order in which atomics happen to arrive.
//
// The n = tokens * top_k indices are cut into one chunk a block. `counts` is [experts][blocks].
#include <ptx.cuh>

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
constexpr int kMaxExperts = 1024;
constexpr unsigned kAll = 0xffffffffu;

// The running sum over a warp's lanes, this lane included.
__device__ __forceinline__ int warp_inclusive_sum(int value, int lane) {
#pragma unroll
  for (int distance = 1; distance < 32; distance <<= 1) {
    const int other = __shfl_up_sync(kAll, value, distance);
    if (lane >= distance) value += other;
  }
  return value;
}

// An index that names no expert belongs to none: its assignment is dropped instead of corrupting memory.
__device__ __forceinline__ bool valid(int expert, int experts) {
  return static_cast<unsigned>(expert) < static_cast<unsigned>(experts);
}

}  // namespace

// counts[e][block] = how often expert e occurs in the block's chunk. Dynamic shared memory: `experts` ints.
extern "C" __global__ void __launch_bounds__(kThreads)
    sort_histogram(const int* __restrict__ indices, int* __restrict__ counts, int n, int chunk, int experts) {
  int* const histogram = reinterpret_cast<int*>(yamoe::dynamic_smem());
  for (int e = threadIdx.x; e < experts; e += kThreads) histogram[e] = 0;
  __syncthreads();
  const int begin = blockIdx.x * chunk;
  const int end = min(n, begin + chunk);
  for (int i = begin + threadIdx.x; i < end; i += kThreads) {
    const int e = indices[i];
    if (valid(e, experts)) atomicAdd(&histogram[e], 1);
  }
  __syncthreads();
  for (int e = threadIdx.x; e < experts; e += kThreads) counts[e * gridDim.x + blockIdx.x] = histogram[e];
}

// One block of kMaxExperts threads; dynamic shared memory: `experts` ints. Replaces counts[e][b] by the number of e's
// assignments in the chunks before b, and writes
//   totals[e]          assignments of expert e, before the capacity;
//   row_offsets[e]     kept assignments of the experts before e; [experts] is the number of rows;
//   tile_offsets[e]    tiles of `tile_rows` rows of the experts before e; [experts] is the number of tiles.
extern "C" __global__ void __launch_bounds__(kMaxExperts)
    sort_scan(int* __restrict__ counts, int* __restrict__ totals, int* __restrict__ row_offsets,
              int* __restrict__ tile_offsets, int experts, int blocks, int capacity, int tile_rows) {
  int* const total = reinterpret_cast<int*>(yamoe::dynamic_smem());
  __shared__ int warp_rows[32];
  __shared__ int warp_tiles[32];
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;

  for (int e = warp; e < experts; e += 32) {
    int carry = 0;
    for (int base = 0; base < blocks; base += 32) {
      const int b = base + lane;
      const int count = b < blocks ? counts[e * blocks + b] : 0;
      const int sum = warp_inclusive_sum(count, lane);
      if (b < blocks) counts[e * blocks + b] = carry + sum - count;
      carry += __shfl_sync(kAll, sum, 31);
    }
    if (lane == 0) total[e] = carry;
  }
  __syncthreads();

  const int e = threadIdx.x;
  const int all = e < experts ? total[e] : 0;
  const int rows = min(all, capacity);
  const int tiles = (rows + tile_rows - 1) / tile_rows;
  const int row_sum = warp_inclusive_sum(rows, lane);
  const int tile_sum = warp_inclusive_sum(tiles, lane);
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
  if (e < experts) {
    totals[e] = all;
    row_offsets[e + 1] = rows_before + row_sum;
    tile_offsets[e + 1] = tiles_before + tile_sum;
  }
  if (e == 0) {
    row_offsets[0] = 0;
    tile_offsets[0] = 0;
  }
}

// Places each assignment: rows[i] = its row among the kept ones in expert order, or -1; row_tokens[row] = its token;
// row_scales[row] = input_weights[i], unless that is null.
// Each warp walks its own part of the chunk in order, 32 indices at a time, and keeps its own running count of every expert;
// equal indices within the 32 find each other with a vote. Dynamic shared memory: kWarps * experts ints.
extern "C" __global__ void __launch_bounds__(kThreads)
    sort_rank(const int* __restrict__ indices, const int* __restrict__ counts, const int* __restrict__ row_offsets,
              const float* __restrict__ input_weights, int* __restrict__ rows, int* __restrict__ row_tokens,
              float* __restrict__ row_scales, int n, int chunk, int experts, int top_k, int capacity) {
  int* const next = reinterpret_cast<int*>(yamoe::dynamic_smem());  // [kWarps][experts]
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  int* const mine = next + warp * experts;

  const int chunk_end = min(n, static_cast<int>(blockIdx.x + 1) * chunk);
  const int part = chunk / kWarps;
  const int begin = blockIdx.x * chunk + warp * part;
  const int end = min(chunk_end, begin + part);

  for (int i = threadIdx.x; i < kWarps * experts; i += kThreads) next[i] = 0;
  __syncthreads();
  for (int i = begin + lane; i < end; i += 32) {
    const int e = indices[i];
    if (valid(e, experts)) atomicAdd(&mine[e], 1);
  }
  __syncthreads();
  // From each warp's counts to where its first assignment of each expert goes.
  for (int e = threadIdx.x; e < experts; e += kThreads) {
    int sum = counts[e * gridDim.x + blockIdx.x];
    for (int w = 0; w < kWarps; ++w) {
      const int count = next[w * experts + e];
      next[w * experts + e] = sum;
      sum += count;
    }
  }
  __syncthreads();

  for (int base = begin; base < end; base += 32) {
    const int i = base + lane;
    const int e = i < end ? indices[i] : -1;
    const bool ok = i < end && valid(e, experts);
    const unsigned peers = __match_any_sync(kAll, ok ? e : -1);
    const unsigned before = peers & ((1u << lane) - 1);
    const int first = ok ? mine[e] : 0;
    const int rank = first + __popc(before);
    __syncwarp();  // every peer has read the count before one of them moves it on
    if (ok && before == 0) mine[e] = first + __popc(peers);
    __syncwarp();
    if (i < end) {
      const bool kept = ok && rank < capacity;
      const int row = kept ? row_offsets[e] + rank : -1;
      rows[i] = row;
      if (kept) row_tokens[row] = i / top_k;
      if (kept && input_weights) row_scales[row] = input_weights[i];
    }
  }
}
