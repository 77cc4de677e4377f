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
