// Announcements between the blocks of a kernel. As ptx.cuh, a build for another machine can replace this file.
#pragma once
#include <ptx.cuh>

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// A counter in global memory by which a warp announces that other blocks may read what it has written, also with bulk
// copies; and the wait for it. "fence.proxy", "red", "ld.acquire".
__device__ __forceinline__ void announce(int* counter) {
  asm volatile("fence.proxy.async.global;" ::: "memory");
  __syncwarp();
  if (threadIdx.x % 32 == 0) {
    asm volatile("fence.acq_rel.gpu;\nred.relaxed.gpu.global.add.s32 [%0], 1;" ::"l"(counter) : "memory");
  }
}
__device__ __forceinline__ void wait_for_announcements(const int* counter, int count) {
  int seen;
  do {
    asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(counter) : "memory");
  } while (seen < count);
  asm volatile("fence.proxy.async.global;" ::: "memory");
}

#endif

}  // namespace yamoe
