// What kernels share that count assignments by expert.
#pragma once
#include <ptx.cuh>

namespace yamoe {

constexpr unsigned kFullWarp = 0xffffffffu;

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
