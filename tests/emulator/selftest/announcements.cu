// Announcements at a counter in global memory. `fixed` as in faults.cu.
#include <ptx_announce.cuh>

using namespace yamoe;

// Warp 0 writes words, and warp 1 reads them. `announces` is called before (0) and after (1) the writes.
template <class Announces, class Waits>
__device__ void pass_words(unsigned* out, int* counter, Announces announces, Waits waits) {
  if (threadIdx.x == 0) {
    mbarrier_init(shared_address(dynamic_smem()), 1);  // the emulator orders accesses in blocks that have an mbarrier
    fence_async_proxy();
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    if (announces(0)) announce(counter);
    out[threadIdx.x] = threadIdx.x;
    if (announces(1)) announce(counter);
  } else {
    waits();
    out[threadIdx.x] = out[threadIdx.x - 32];  // FAULT
  }
}

#define FAULTY(name) extern "C" __global__ void name(int* counter, unsigned* out, int fixed)

FAULTY(fault_announced_too_early) {
  pass_words(
      out, counter, [&](int when) { return when == fixed; }, [&] { wait_for_announcements(counter, 1); });
}
FAULTY(fault_not_awaited) {
  pass_words(
      out, counter, [](int when) { return when == 1; }, [&] { wait_for_announcements(counter, fixed); });
}
FAULTY(fault_too_few_announcements) {
  pass_words(
      out, counter, [](int when) { return when == 1; }, [&] { wait_for_announcements(counter, 2 - fixed); });
}
// Warp 2 announces what warp 0 has written.
FAULTY(fault_released_too_early) {
  const uint32_t written = shared_address(dynamic_smem());
  if (threadIdx.x == 0) {
    mbarrier_init(written, 32);
    fence_async_proxy();
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    if (!fixed) mbarrier_arrive(written);
    out[threadIdx.x] = threadIdx.x;
    if (fixed) mbarrier_arrive(written);
  } else if (threadIdx.x < 64) {
    wait_for_announcements(counter, 1);
    out[threadIdx.x] = out[threadIdx.x - 32];
  } else {
    mbarrier_wait(written, 0);
    announce(counter);
  }
}
