// Hopper's bulk tensor copies. `fixed` as in faults.cu.
#include <ptx_wgmma.cuh>

using namespace yamoe;

// Most tensors here have two dimensions, padded to four with dimensions of one element.
#define BULK_COPY_2D(to, map, barrier, c0, c1) bulk_copy_4d(to, map, barrier, c0, c1, 0, 0)

constexpr int kBox = 1024;  // the default size in bytes: 8 swizzled rows of 64 elements of 16 bits

// Two boxes, followed by two mbarriers.
struct Stages {
  const uint32_t start = shared_address(dynamic_smem());
  const int bytes;

  __device__ Stages(int box_bytes = kBox, bool fence = true) : bytes(box_bytes) {
    if (threadIdx.x == 0) {
      mbarrier_init(full(0), 1);
      mbarrier_init(full(1), 1);
      if (fence) fence_async_proxy();
    }
    __syncthreads();
  }
  __device__ uint32_t box(int i) const { return start + i * bytes; }
  __device__ uint32_t full(int i) const { return start + 2 * bytes + i * 8; }
  __device__ const unsigned* words(int i) const {
    return reinterpret_cast<const unsigned*>(dynamic_smem() + i * bytes);
  }
};

// out: the first `read` of a box's bytes in shared memory.
extern "C" __global__ void test_bulk_copy(const __grid_constant__ TensorMap map, unsigned* out, int bytes, int read,
                                          int a, int b, int c, int d) {
  const Stages stages(bytes);
  if (threadIdx.x == 0) {
    prefetch_tensor_map(map);
    mbarrier_arrive_expecting(stages.full(0), bytes);
    bulk_copy_4d(stages.box(0), map, stages.full(0), a, b, c, d);
  }
  mbarrier_wait(stages.full(0), 0);
  for (int i = threadIdx.x; i < read / 4; i += blockDim.x) out[i] = stages.words(0)[i];
}

// out[thread] = the sum over rounds of the thread's word of the round's box. The boxes pass through a ring of two stages. A copy is
// issued before or after the mbarrier expects its bytes.
extern "C" __global__ void test_bulk_ring(const __grid_constant__ TensorMap map, unsigned* out, int rounds) {
  const uint32_t empty = shared_address(dynamic_smem()) + 2 * kBox + 16;
  if (threadIdx.x == 0) {
    mbarrier_init(empty, blockDim.x - 32);
    mbarrier_init(empty + 8, blockDim.x - 32);
  }
  const Stages stages;
  if (threadIdx.x >= blockDim.x - 32) {
    if (threadIdx.x % 32) return;
    for (int round = 0; round < rounds; ++round) {
      const int stage = round % 2;
      mbarrier_wait(empty + stage * 8, round / 2 % 2 ^ 1);
      if (round % 3) mbarrier_arrive_expecting(stages.full(stage), kBox);
      BULK_COPY_2D(stages.box(stage), map, stages.full(stage), 0, round * 8);
      if (round % 3 == 0) mbarrier_arrive_expecting(stages.full(stage), kBox);
    }
    return;
  }
  unsigned sum = 0;
  for (int round = 0; round < rounds; ++round) {
    const int stage = round % 2;
    mbarrier_wait(stages.full(stage), round / 2 % 2);
    for (int i = threadIdx.x; i < kBox / 4; i += blockDim.x - 32) sum += stages.words(stage)[i];
    fence_async_proxy();
    mbarrier_arrive(empty + stage * 8);
  }
  out[threadIdx.x] = sum;
}

// One thread waits for the copy. A barrier, a __syncwarp or an mbarrier then orders it for the other threads.
extern "C" __global__ void test_bulk_known(const __grid_constant__ TensorMap map, unsigned* out, int way) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), kBox);
    BULK_COPY_2D(stages.box(0), map, stages.full(0), 0, 0);
    mbarrier_wait(stages.full(0), 0);
  }
  if (way == 0) __syncthreads();
  if (way == 1) __syncwarp();
  if (way == 2 && threadIdx.x == 0) mbarrier_arrive(stages.full(1));
  if (way == 2) mbarrier_wait(stages.full(1), 0);
  if (way != 1 || threadIdx.x < 32) out[threadIdx.x] = stages.words(0)[threadIdx.x];
}

// out[m][n] = sum of a[m][k] b[n][k]. Bulk copies deliver both operands, so wgmma needs no fence. The rows of a run along the depth
// or across it.
template <bool kAcross>
__device__ void multiply(const TensorMap& a, const TensorMap& b, float* out) {
  const Stages stages(256 * 128 / 2);
  const uint32_t at_a = stages.start, at_b = at_a + 64 * 128;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), 256 * 128);
    BULK_COPY_2D(at_a, a, stages.full(0), 0, 0);
    for (int n = 0; n < 192; n += 64) BULK_COPY_2D(at_b + n * 128, b, stages.full(0), 0, n);
  }
  mbarrier_wait(stages.full(0), 0);
  float sums[24][4] = {};
  wgmma_fence();
  for (int step = 0; step < 4; ++step) {
    const uint64_t left = wgmma_descriptor(at_a + step * (kAcross ? 16 * 128 : 32));
    wgmma_shared<__half, kAcross, 24>(sums, left, wgmma_descriptor(at_b + step * 32));
  }
  wgmma_commit();
  wgmma_wait_groups<0>();
  for (int i = 0; i < 24 * 4; ++i) {
    const int m = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8;
    out[m * 192 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i / 4][i % 4];
  }
}
#define MULTIPLY(name) \
  extern "C" __global__ void name(const __grid_constant__ TensorMap a, const __grid_constant__ TensorMap b, float* out)
MULTIPLY(test_bulk_wgmma) { multiply<false>(a, b, out); }
MULTIPLY(test_bulk_wgmma_across) { multiply<true>(a, b, out); }

// 64 threads. `other` is an invalid map that the test chooses. `in` points to two copies of `map` in global memory.
#define FAULTY(name)                                                                                              \
  extern "C" __global__ void name(const __grid_constant__ TensorMap map, const __grid_constant__ TensorMap other, \
                                  const unsigned char* in, unsigned* out, int fixed)

__device__ void begin(const Stages& stages, const TensorMap& map, int i = 0) {
  if (threadIdx.x != 0) return;
  mbarrier_arrive_expecting(stages.full(i), kBox);
  BULK_COPY_2D(stages.box(i), map, stages.full(i), 0, 0);
}
__device__ void finish(const Stages& stages, unsigned* out, int i = 0) {
  mbarrier_wait(stages.full(i), 0);
  out[threadIdx.x] = stages.words(i)[threadIdx.x];
}

FAULTY(fault_bulk_no_wait) {
  const Stages stages;
  begin(stages, map);
  __syncthreads();
  if (fixed) mbarrier_wait(stages.full(0), 0);
  out[threadIdx.x] = stages.words(0)[threadIdx.x];  // FAULT fault_bulk_no_wait
  mbarrier_wait(stages.full(0), 0);
}

FAULTY(fault_bulk_wait_for_another) {
  const Stages stages;
  begin(stages, map, 0);
  begin(stages, map, 1);
  if (fixed || threadIdx.x < 32) mbarrier_wait(stages.full(0), 0);
  mbarrier_wait(stages.full(1), 0);
  out[threadIdx.x] = stages.words(0)[threadIdx.x];  // FAULT fault_bulk_wait_for_another
}

FAULTY(fault_bulk_misaligned) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), kBox);
    BULK_COPY_2D(stages.box(0) + (fixed ? 128 : 64), map, stages.full(0), 0, 0);  // FAULT fault_bulk_misaligned
  }
  mbarrier_wait(stages.full(0), 0);
  out[threadIdx.x] = stages.words(0)[threadIdx.x + 64];
}

FAULTY(fault_bulk_past_shared) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), kBox);
    BULK_COPY_2D(stages.box(fixed ? 0 : 2) + 128, map, stages.full(0), 0, 0);  // FAULT fault_bulk_past_shared
  }
  mbarrier_wait(stages.full(0), 0);
  out[threadIdx.x] = stages.words(0)[threadIdx.x + 64];
}

FAULTY(fault_bulk_over_mbarrier) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), kBox);
    BULK_COPY_2D(stages.box(1) + (fixed ? 0 : 128), map, stages.full(0), 0, 0);  // FAULT fault_bulk_over_mbarrier
  }
  mbarrier_wait(stages.full(0), 0);
  out[threadIdx.x] = stages.words(1)[threadIdx.x + 64];
}

FAULTY(fault_bulk_no_mbarrier) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), kBox);
    BULK_COPY_2D(stages.box(0), map, stages.full(fixed ? 0 : 2), 0, 0);  // FAULT fault_bulk_no_mbarrier
  }
  finish(stages, out);
}

FAULTY(fault_bulk_mbarrier_without_fence) {
  const Stages stages(kBox, fixed);
  begin(stages, map);
  finish(stages, out);
}

FAULTY(fault_bulk_too_few_bytes) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), fixed ? kBox : kBox - 16);
    BULK_COPY_2D(stages.box(0), map, stages.full(0), 0, 0);
  }
  finish(stages, out);
}

FAULTY(fault_bulk_too_many_arrivals) {
  const Stages stages;
  begin(stages, map);
  __syncthreads();
  if (fixed) mbarrier_wait(stages.full(0), 0);
  __syncthreads();
  if (threadIdx.x == 0) mbarrier_arrive(stages.full(0));  // FAULT fault_bulk_too_many_arrivals
  mbarrier_wait(stages.full(0), 1);
  out[threadIdx.x] = 0;
}

FAULTY(fault_bulk_too_many_bytes) {
  const Stages stages;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), fixed ? kBox : 1 << 20);  // FAULT fault_bulk_too_many_bytes
    BULK_COPY_2D(stages.box(0), map, stages.full(0), 0, 0);
  }
  finish(stages, out);
}

FAULTY(fault_bulk_in_flight_at_the_end) {
  const Stages stages;
  begin(stages, map);
  if (fixed) mbarrier_wait(stages.full(0), 0);
  out[threadIdx.x] = 0;
}

FAULTY(fault_bulk_nobody_waits) {
  const Stages stages;
  begin(stages, map, 1);
  begin(stages, map, 0);
  finish(stages, out);
  if (fixed) mbarrier_wait(stages.full(1), 0);
}

FAULTY(fault_bulk_before_all_have_read) {
  const Stages stages;
  begin(stages, map);
  finish(stages, out);
  fence_async_proxy();
  if (fixed) __syncthreads();
  if (threadIdx.x == 63) {
    mbarrier_arrive_expecting(stages.full(1), kBox);
    BULK_COPY_2D(stages.box(0), map, stages.full(1), 0, 0);  // FAULT fault_bulk_before_all_have_read
  }
  mbarrier_wait(stages.full(1), 0);
}

// Both warps read the same bytes, and an mbarrier orders each of them before the next copy.
FAULTY(fault_bulk_before_a_warp_has_read) {
  const uint32_t empty = shared_address(dynamic_smem()) + 2 * kBox + 16;
  if (threadIdx.x == 0) mbarrier_init(empty, 2);
  const Stages stages;
  begin(stages, map);
  mbarrier_wait(stages.full(0), 0);
  if (!fixed && threadIdx.x == 0) mbarrier_arrive(empty);
  out[threadIdx.x] = stages.words(0)[threadIdx.x % 32];
  fence_async_proxy();
  __syncwarp();
  if (threadIdx.x == 32 || fixed && threadIdx.x == 0) mbarrier_arrive(empty);
  if (threadIdx.x == 63) {
    mbarrier_wait(empty, 0);
    mbarrier_arrive_expecting(stages.full(1), kBox);
    BULK_COPY_2D(stages.box(0), map, stages.full(1), 0, 0);  // FAULT fault_bulk_before_a_warp_has_read
  }
  mbarrier_wait(stages.full(1), 0);
}

FAULTY(fault_bulk_map_misaligned) {
  const Stages stages;
  begin(stages, *reinterpret_cast<const TensorMap*>(in + (fixed ? 128 : 16)));
  finish(stages, out);
}

FAULTY(fault_bulk_map_copied) {
  const Stages stages;
  const TensorMap copied = map;
  begin(stages, fixed ? map : copied);
  finish(stages, out);
}

FAULTY(fault_bulk_no_map) {
  const Stages stages;
  begin(stages, fixed ? map : *reinterpret_cast<const TensorMap*>(in + 256));
  finish(stages, out);
}

FAULTY(fault_bulk_prefetch_of_no_map) {
  const Stages stages;
  const TensorMap* const no_map = reinterpret_cast<const TensorMap*>(in + 256);
  prefetch_tensor_map(fixed ? map : *no_map);  // FAULT fault_bulk_prefetch_of_no_map
  out[threadIdx.x] = 0;
}

// `other` has other dimensions, covers memory that is not allocated or not written, or has rows that are shorter than the
// swizzle.
__device__ void copy_by(const TensorMap& map, unsigned* out) {
  const Stages stages;
  begin(stages, map);
  finish(stages, out);
}
FAULTY(fault_bulk_wrong_dimensions) { copy_by(fixed ? map : other, out); }
FAULTY(fault_bulk_out_of_bounds) { copy_by(fixed ? map : other, out); }
FAULTY(fault_bulk_unwritten) { copy_by(fixed ? map : other, out); }
FAULTY(fault_bulk_short_rows) { copy_by(fixed ? map : other, out); }
FAULTY(fault_bulk_freed) { copy_by(fixed ? map : other, out); }

// A copy to an operand that a product of a warpgroup may still read.
extern "C" __global__ void fault_bulk_while_wgmma_reads(const __grid_constant__ TensorMap a,
                                                        const __grid_constant__ TensorMap b, float* out, int fixed) {
  const Stages stages(256 * 128 / 2);
  const uint32_t at_a = stages.start, at_b = at_a + 64 * 128;
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(0), 256 * 128);
    BULK_COPY_2D(at_a, a, stages.full(0), 0, 0);
    for (int i = 0; i < 3; ++i) BULK_COPY_2D(at_b + i * 64 * 128, b, stages.full(0), 0, i * 64);
  }
  mbarrier_wait(stages.full(0), 0);
  float sums[24][4] = {};
  wgmma_fence();
  wgmma_shared<__half, false, 24>(sums, wgmma_descriptor(at_a), wgmma_descriptor(at_b));
  wgmma_commit();
  if (fixed) wgmma_wait_groups<0>();
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(stages.full(1), 64 * 128);
    BULK_COPY_2D(at_a, a, stages.full(1), 0, 0);  // FAULT fault_bulk_while_wgmma_reads
  }
  wgmma_wait_groups<0>();
  mbarrier_wait(stages.full(1), 0);
  out[threadIdx.x] = sums[0][0];
}
