// Kernels for what faults.cu cannot contain: freed memory, which depends on the host, and bank conflicts, which are not faults.
#include <ptx.cuh>

using namespace yamoe;

extern "C" __global__ void test_copy(const int* in, int* out) {
  out[threadIdx.x] = in[threadIdx.x];  // COPY
}

// A warp copies 32 rows of 16 bytes to shared memory, with a stride of `stride` bytes, and reads them as matrices.
extern "C" __global__ void test_rows(const uint4* in, uint32_t* out, int stride) {
  const uint32_t row = shared_address(dynamic_smem()) + threadIdx.x * stride;
  cp_async_16(row, in + threadIdx.x, 16);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  uint32_t registers[4];
  ldmatrix_x4(registers, row);
  out[threadIdx.x] = registers[0];
}

// Every other lane copies once more than the others, to where their later copies would conflict with its own.
extern "C" __global__ void test_uneven_copies(const uint4* in, uint32_t* out) {
  const uint32_t start = shared_address(dynamic_smem());
  if (threadIdx.x % 2 == 0) cp_async_16(start + 512 + (threadIdx.x + 1) * 16, in + threadIdx.x, 16);
  __syncwarp();
  cp_async_16(start + threadIdx.x * 16, in + threadIdx.x, 16);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  out[threadIdx.x] = reinterpret_cast<const uint32_t*>(dynamic_smem())[threadIdx.x * 4];
}
