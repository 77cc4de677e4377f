// Hopper's bulk copies of consecutive bytes. `fixed` as in faults.cu.
#include <ptx.cuh>

using namespace yamoe;

// Thread 0 copies the bytes to shared memory, behind an mbarrier. All threads wait.
__device__ void copy_bytes(uint32_t offset, const unsigned char* from, int bytes) {
  const uint32_t full = shared_address(dynamic_smem());
  if (threadIdx.x == 0) {
    mbarrier_init(full, 1);
    fence_async_proxy();
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(full, bytes);
    bulk_copy(full + 16 + offset, from, bytes, full);
  }
  mbarrier_wait(full, 0);
}

extern "C" __global__ void test_bulk_bytes(const unsigned char* from, unsigned* out, int bytes) {
  copy_bytes(0, from, bytes);
  for (int i = threadIdx.x; i < bytes / 4; i += blockDim.x)
    out[i] = reinterpret_cast<const unsigned*>(dynamic_smem() + 16)[i];
}

// `in` has 512 bytes, and 512 bytes of shared memory follow the mbarrier.
#define FAULTY(name) extern "C" __global__ void name(const unsigned char* in, int fixed)
FAULTY(fault_bulk_bytes_misaligned) { copy_bytes(0, in + (fixed ? 16 : 8), 256); }
FAULTY(fault_bulk_bytes_misaligned_in_shared) { copy_bytes(fixed ? 16 : 8, in, 256); }
FAULTY(fault_bulk_bytes_of_odd_size) { copy_bytes(0, in, fixed ? 256 : 250); }
FAULTY(fault_bulk_bytes_out_of_bounds) { copy_bytes(0, in + (fixed ? 256 : 272), 256); }
FAULTY(fault_bulk_bytes_past_shared) { copy_bytes(384, in, fixed ? 128 : 256); }
FAULTY(fault_bulk_bytes_over_mbarrier) { copy_bytes(fixed ? 0 : -16, in, 128); }

// Threads access the bytes before the copy. A barrier orders the threads, but not their loads and stores before the copy.
__device__ void prepare_copy(bool fence) {
  if (fence) fence_async_proxy();
  __syncthreads();
}
FAULTY(fault_bulk_bytes_unfenced_write) {
  reinterpret_cast<unsigned*>(dynamic_smem() + 16)[threadIdx.x] = threadIdx.x;
  prepare_copy(fixed);
  copy_bytes(0, in, 256);
}
FAULTY(fault_bulk_bytes_unfenced_read) {
  unsigned* const words = reinterpret_cast<unsigned*>(dynamic_smem() + 16);
  copy_bytes(0, in, 256);
  volatile unsigned read = words[threadIdx.x];
  prepare_copy(fixed);
  if (threadIdx.x == 0) {
    mbarrier_arrive_expecting(shared_address(dynamic_smem()), 256);
    bulk_copy(shared_address(words), in, 256, shared_address(dynamic_smem()));
  }
  mbarrier_wait(shared_address(dynamic_smem()), 1);
}
