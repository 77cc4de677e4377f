// A sort of few assignments by every block of a kernel, so that it needs no kernel of its own. A block only counts the
// assignments of each expert. The warp that needs the rows of a tile finds them in the list of the assignments' experts.
// Assignments beyond an expert's capacity, or to an unknown expert, have no row.
#pragma once
#include <ptx.cuh>

namespace yamoe {

constexpr unsigned kFullWarp = 0xffffffffu;

// The lanes of the warp with the same number, which is from 0 to maximum. A vote for each bit takes less time than
// __match_any_sync, whose time grows with the number of different numbers.
__device__ __forceinline__ unsigned lanes_with(int number, int maximum) {
  unsigned lanes = kFullWarp;
#pragma unroll 4
  for (int bit = 1; bit <= maximum; bit <<= 1) {
    const unsigned set = __ballot_sync(kFullWarp, (number & bit) != 0);
    lanes &= number & bit ? set : ~set;
  }
  return lanes;
}

// In shared memory. The rows of an expert are its first assignments in ascending order.
struct BlockSort {
  int* row_offsets;         // [experts + 1]: the first row of each expert
  int* tile_offsets;        // [experts + 1]: the first row tile of each expert
  unsigned short* experts;  // [assignments, rounded up to a multiple of 128]: the expert of each, or kNoExpert

  static constexpr int kNoExpert = 0xffff;  // unknown, or after the last assignment
  static __device__ __forceinline__ int padded(int assignments) { return (assignments + 127) / 128 * 128; }

  __device__ __forceinline__ BlockSort(unsigned char* memory, int experts)
      : row_offsets(reinterpret_cast<int*>(memory)),
        tile_offsets(row_offsets + experts + 1),
        experts(reinterpret_cast<unsigned short*>(tile_offsets + experts + 1)) {}

  // Called by all kThreads threads of the block before they call `count`.
  template <int kThreads>
  __device__ __forceinline__ void clear(int expert_count) {
    for (int e = threadIdx.x; e < expert_count; e += kThreads) row_offsets[e] = 0;
  }

  // Counts the assignments, and divides the rows of each expert, at most `capacity`, into tiles. Called by all kThreads
  // threads of the block; after it the block has synchronized.
  template <int kThreads, int kTileRows>
  __device__ __forceinline__ void count(const int* indices, int assignments, int expert_count,
                                        int capacity = INT32_MAX) {
    int* const counts = row_offsets;
    __syncthreads();
    constexpr int kBatch = 4;  // loads at once
    for (int base = threadIdx.x; base < padded(assignments); base += kBatch * kThreads) {
      int batch[kBatch];
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const int i = base + j * kThreads;
        batch[j] = i < assignments ? indices[i] : -1;
      }
#pragma unroll
      for (int j = 0; j < kBatch; ++j) {
        const int i = base + j * kThreads;
        if (i >= padded(assignments)) break;
        const bool exists = static_cast<unsigned>(batch[j]) < static_cast<unsigned>(expert_count);
        experts[i] = static_cast<unsigned short>(exists ? batch[j] : kNoExpert);
        if (exists) atomicAdd(&counts[batch[j]], 1);
      }
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      const int lane = threadIdx.x;
      const int part = (expert_count + 31) / 32, begin = lane * part, end = min(begin + part, expert_count);
      int own = 0;  // rows in the upper half, and tiles in the lower half
      for (int e = begin; e < end; ++e) {
        const int rows = min(counts[e], capacity);
        own += rows << 16 | (rows + kTileRows - 1) / kTileRows;
      }
      int sum = own;
#pragma unroll
      for (int distance = 1; distance < 32; distance *= 2) {
        const int other = __shfl_up_sync(0xffffffffu, sum, distance);
        if (lane >= distance) sum += other;
      }
      int before = sum - own;
      for (int e = begin; e < end; ++e) {
        const int rows = min(counts[e], capacity);
        row_offsets[e] = before >> 16;
        tile_offsets[e] = before & 0xffff;
        before += rows << 16 | (rows + kTileRows - 1) / kTileRows;
      }
      if (lane == 31) {
        row_offsets[expert_count] = sum >> 16;
        tile_offsets[expert_count] = sum & 0xffff;
      }
    }
    __syncthreads();
  }

  // Writes the assignments of an expert's rows from `first` to `first + rows - 1`, counted within the expert, to `found`.
  // Called by a whole warp, for at most 32 rows.
  __device__ __forceinline__ void find(int expert, int first, int rows, int* found) const {
    const int lane = threadIdx.x % 32;
    const unsigned before = (1u << lane) - 1;
    int rank = -first;
#pragma unroll 1
    for (int base = lane * 4; rank < rows; base += 128) {
      const ushort4 four = *reinterpret_cast<const ushort4*>(experts + base);
      const bool matches[4] = {four.x == expert, four.y == expert, four.z == expert, four.w == expert};
      int own = rank;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const unsigned matching = __ballot_sync(0xffffffffu, matches[j]);
        own += __popc(matching & before);
        rank += __popc(matching);
      }
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (!matches[j]) continue;
        if (own >= 0 && own < rows) found[own] = base + j;
        ++own;
      }
    }
    __syncwarp();
  }
};

}  // namespace yamoe
