// What faults.cu cannot plant: whether memory is freed is the host's doing, and a bank conflict is slow, not wrong.
#include <ptx.cuh>

using namespace yamoe;

extern "C" __global__ void test_copy(const int* in, int* out) {
  out[threadIdx.x] = in[threadIdx.x];  // COPY
}

// A warp copies 32 rows of 16 bytes to shared memory, `stride` bytes apart, and reads them as matrices.
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
