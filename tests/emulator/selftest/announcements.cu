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
// Blocks of one warp take tickets. The tile of each needs the words of the tile before, which another block may have written.
constexpr int kTiles = 8;
FAULTY(fault_other_block_not_awaited) {
  if (threadIdx.x == 0) {
    mbarrier_init(shared_address(dynamic_smem()), 1);
    fence_async_proxy();
  }
  __syncthreads();
  for (;;) {
    const int taken = threadIdx.x == 0 ? atomicAdd(counter, 1) : 0;
    const int ticket = __shfl_sync(0xffffffffu, taken, 0);
    if (ticket >= kTiles) break;
    unsigned* const own = out + ticket * 32 + threadIdx.x;
    if (ticket > 0 && fixed) wait_for_announcements(counter + ticket, 1);
    *own = blockIdx.x * 100 + (ticket > 0 ? own[-32] % 100 + 1 : 0);
    announce(counter + 1 + ticket);
  }
  if (blockIdx.x + 1 == gridDim.x && threadIdx.x == 0) atomicAdd(counter, -kTiles - static_cast<int>(gridDim.x));
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
