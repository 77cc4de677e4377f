// Hopper's instructions with 256 threads. The first warpgroup multiplies the operands that the second one copies. A is [64][64],
// along or across the depth, and B is [192][64]. `in` contains both, with 16-bit elements. `fixed` is as in faults.cu.
#include <ptx_wgmma.cuh>

using namespace yamoe;

constexpr int kA = 64 * 128, kB = 192 * 128, kFull = kA + kB, kEmpty = kFull + 8;

struct Stage {
  const uint32_t start = shared_address(dynamic_smem()), full = start + kFull, empty = start + kEmpty;
  const int thread = threadIdx.x % 128;

  __device__ Stage(bool barrier = true) {
    if (threadIdx.x == 0) {
      mbarrier_init(full, 128);
      mbarrier_init(empty, 4);
    }
    if (barrier) __syncthreads();
  }

  __device__ void copy(const int* in) const {
    const char* const from = reinterpret_cast<const char*>(in);
    const int chunk = thread % 8;
    for (int row = thread / 8; row < 256; row += 16) {
      cp_async_16(start + row * 128 + (chunk ^ (row & 7)) * 16, from + row * 128 + chunk * 16, 16);
    }
  }

  template <class T, bool kAcross>
  __device__ void multiply(float (&sums)[24][4]) const {
    wgmma_fence();
    for (int step = 0; step < 4; ++step) {
      const uint64_t left = wgmma_descriptor(start + step * (kAcross ? 16 * 128 : 32));
      wgmma_shared<T, kAcross, 24>(sums, left, wgmma_descriptor(start + kA + step * 32));
    }
    wgmma_commit();
  }

  __device__ void release() const {
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty);
  }
};

// out[m][n] = sum of a[m][k] b[n][k].
template <class T, bool kAcross>
__device__ void multiply(const int* in, float* out) {
  const Stage stage;
  if (threadIdx.x >= 128) {
    stage.copy(in);
    cp_async_arrive(stage.full);
    return;
  }
  mbarrier_wait(stage.full, 0);
  fence_async_proxy();
  float sums[24][4] = {};
  stage.multiply<T, kAcross>(sums);
  wgmma_wait_groups<0>();
  for (int i = 0; i < 24 * 4; ++i) {
    const int m = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8;
    out[m * 192 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i / 4][i % 4];
  }
}
extern "C" __global__ void test_wgmma_f16(const int* in, float* out) { multiply<__half, false>(in, out); }
extern "C" __global__ void test_wgmma_f16_across(const int* in, float* out) { multiply<__half, true>(in, out); }
extern "C" __global__ void test_wgmma_bf16(const int* in, float* out) { multiply<__nv_bfloat16, false>(in, out); }
extern "C" __global__ void test_wgmma_bf16_across(const int* in, float* out) { multiply<__nv_bfloat16, true>(in, out); }

#define FAULTY(name) extern "C" __global__ void name(const int* in, float* out, int fixed)

// Two rounds through one stage, with one step missing.
enum Fault { kNone, kFullWait, kProxyFence, kEmptyWait, kProductWait, kLastWait };

__device__ void rounds(const int* in, float* out, Fault fault) {
  const Stage stage;
  if (threadIdx.x >= 128) {
    for (int round = 0; round < 2; ++round) {
      if (fault != kEmptyWait) mbarrier_wait(stage.empty, 1 ^ round);
      stage.copy(in);
      cp_async_arrive(stage.full);
    }
    return;
  }
  float sums[24][4] = {};
  for (int round = 0; round < 2; ++round) {
    if (fault != kFullWait) mbarrier_wait(stage.full, round);
    if (fault != kProxyFence) fence_async_proxy();
    stage.multiply<__half, false>(sums);
    if (fault != kProductWait && !(fault == kLastWait && round)) wgmma_wait_groups<0>();
    stage.release();
  }
  if (fault != kLastWait) wgmma_wait_groups<0>();
  out[threadIdx.x] = sums[0][0];
}

FAULTY(fault_no_wait_for_full) { rounds(in, out, fixed ? kNone : kFullWait); }
FAULTY(fault_no_fence_of_the_async_proxy) { rounds(in, out, fixed ? kNone : kProxyFence); }
FAULTY(fault_no_wait_for_empty) { rounds(in, out, fixed ? kNone : kEmptyWait); }
FAULTY(fault_released_before_it_is_read) { rounds(in, out, fixed ? kNone : kProductWait); }
FAULTY(fault_products_in_flight_at_the_end) { rounds(in, out, fixed ? kNone : kLastWait); }

FAULTY(fault_mbarrier_without_initialisation) {
  const Stage stage;
  mbarrier_arrive(fixed && threadIdx.x < 128 ? stage.full : fixed ? stage.empty : stage.empty + 8);
  out[threadIdx.x] = in[0];
}

FAULTY(fault_mbarrier_initialised_without_barrier) {
  const Stage stage(fixed);
  mbarrier_arrive(stage.full);
  out[threadIdx.x] = in[0];
}

FAULTY(fault_written_over_an_mbarrier) {
  const Stage stage;
  if (threadIdx.x == 0) *reinterpret_cast<int*>(dynamic_smem() + (fixed ? 0 : kEmpty)) = 1;
  out[threadIdx.x] = in[0];
}

FAULTY(fault_mbarrier_initialised_twice) {
  const Stage stage;
  if (threadIdx.x == 0 && !fixed) mbarrier_init(stage.empty, 1);
  out[threadIdx.x] = in[0];
}
