// A sort of few assignments by every block of a kernel, so that it needs no kernel of its own. A block only counts the
// assignments of each expert. The warp that needs the rows of a tile finds them in the list of the assignments' experts.
// Nothing is dropped, except for assignments to an unknown expert.
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

// In shared memory. The rows of an expert are its assignments in ascending order.
struct BlockSort {
  int* row_offsets;         // [experts + 1]: the first row of each expert
  int* tile_offsets;        // [experts + 1]: the first row tile of each expert
  unsigned short* experts;  // [assignments]: the expert of each; kNoExpert if it is unknown

  static constexpr int kNoExpert = 0xffff;

  __device__ __forceinline__ BlockSort(unsigned char* memory, int experts)
      : row_offsets(reinterpret_cast<int*>(memory)),
        tile_offsets(row_offsets + experts + 1),
        experts(reinterpret_cast<unsigned short*>(tile_offsets + experts + 1)) {}

  // Counts the assignments, and divides the rows of each expert into tiles. Called by all kThreads threads of the block;
  // after it the block has synchronized.
  template <int kThreads, int kTileRows>
  __device__ __forceinline__ void count(const int* indices, int assignments, int expert_count) {
    int* const counts = tile_offsets;
    for (int e = threadIdx.x; e <= expert_count; e += kThreads) counts[e] = 0;
    __syncthreads();
    for (int i = threadIdx.x; i < assignments; i += kThreads) {
      const int e = indices[i];
      const bool exists = static_cast<unsigned>(e) < static_cast<unsigned>(expert_count);
      experts[i] = static_cast<unsigned short>(exists ? e : kNoExpert);
      if (exists) atomicAdd(&counts[e], 1);
    }
    __syncthreads();
    if (threadIdx.x < 32) {
      int carry = 0;  // rows in the upper half, and tiles in the lower half
      for (int base = 0; base < expert_count; base += 32) {
        const int e = base + static_cast<int>(threadIdx.x);
        const int rows = e < expert_count ? counts[e] : 0;
        int sum = rows << 16 | (rows + kTileRows - 1) / kTileRows;
        const int own = sum;
#pragma unroll
        for (int distance = 1; distance < 32; distance *= 2) {
          const int other = __shfl_up_sync(0xffffffffu, sum, distance);
          if (static_cast<int>(threadIdx.x) >= distance) sum += other;
        }
        const int before = carry + sum - own;
        if (e < expert_count) {
          row_offsets[e] = before >> 16;
          tile_offsets[e] = before & 0xffff;
        }
        carry += __shfl_sync(0xffffffffu, sum, 31);
      }
      if (threadIdx.x == 0) {
        row_offsets[expert_count] = carry >> 16;
        tile_offsets[expert_count] = carry & 0xffff;
      }
    }
    __syncthreads();
  }

  // Writes the assignments of an expert's rows from `first` to `first + rows - 1`, counted within the expert, to `found`.
  // Called by a whole warp, for at most 32 rows.
  __device__ __forceinline__ void find(int expert, int first, int rows, int assignments, int* found) const {
    const int lane = static_cast<int>(threadIdx.x % 32);
    int rank = 0;
#pragma unroll 1
    for (int base = 0; rank < first + rows; base += 32) {
      const int i = base + lane;
      const bool matches = i < assignments && experts[i] == expert;
      const unsigned matching = __ballot_sync(0xffffffffu, matches);
      const int own = rank + __popc(matching & ((1u << lane) - 1)) - first;
      if (matches && own >= 0 && own < rows) found[own] = i;
      rank += __popc(matching);
    }
    __syncwarp();
  }
};

}  // namespace yamoe
