// One kernel for each instruction and intrinsic. The tests compare them with a plain model.
#include <ptx.cuh>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

using namespace yamoe;

// out[m][lane]: the elements of matrix m that the lane receives. `in` contains rows of 8 elements.
extern "C" __global__ void test_ldmatrix(const uint4* in, uint32_t* out, int transpose) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  shared[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  uint32_t registers[4];
  if (transpose) {
    ldmatrix_x4_trans(registers, shared_address(shared + threadIdx.x));
  } else {
    ldmatrix_x4(registers, shared_address(shared + threadIdx.x));
  }
  for (int i = 0; i < 4; ++i) out[i * 32 + threadIdx.x] = registers[i];
}

// c[lane][4] += a[lane][4] * b[lane][2]. The arrays contain the fragments as in registers.
template <class T>
__device__ void multiply(const uint32_t* a, const uint32_t* b, float* c) {
  uint32_t ra[4], rb[2];
  float rc[4];
  for (int i = 0; i < 4; ++i) ra[i] = a[threadIdx.x * 4 + i];
  for (int i = 0; i < 2; ++i) rb[i] = b[threadIdx.x * 2 + i];
  for (int i = 0; i < 4; ++i) rc[i] = c[threadIdx.x * 4 + i];
  mma_m16n8k16<T>(rc, ra, rb);
  for (int i = 0; i < 4; ++i) c[threadIdx.x * 4 + i] = rc[i];
}
extern "C" __global__ void test_mma_f16(const uint32_t* a, const uint32_t* b, float* c) { multiply<__half>(a, b, c); }
#if __CUDA_ARCH__ >= 800
extern "C" __global__ void test_mma_bf16(const uint32_t* a, const uint32_t* b, float* c) {
  multiply<__nv_bfloat16>(a, b, c);
}
#endif

// Copies `bytes` of each 16 bytes.
extern "C" __global__ void test_cp_async(const uint4* in, uint4* out, int bytes) {
  uint4* const shared = reinterpret_cast<uint4*>(dynamic_smem());
  cp_async_16(shared_address(shared + threadIdx.x), in + threadIdx.x, bytes);
  cp_async_commit();
  cp_async_wait<0>();
  __syncthreads();
  out[threadIdx.x] = shared[threadIdx.x ^ 1];
}

extern "C" __global__ void test_streaming(const uint4* in, uint4* out) {
  store_streaming_16(out + threadIdx.x, load_streaming_16(in + threadIdx.x));
}

// Each intrinsic writes one row of 32 values to `out`.
extern "C" __global__ void test_warp(const int* in, int* out) {
  const int lane = threadIdx.x, value = in[lane];
  int line = 0;
  const auto put = [&](int result) { out[32 * line++ + lane] = result; };
  put(__shfl_sync(0xffffffffu, value, 5));
  put(__shfl_sync(0xffffffffu, value, lane + 3, 8));
  put(__shfl_up_sync(0xffffffffu, value, 4));
  put(__shfl_down_sync(0xffffffffu, value, 4));
  put(__shfl_xor_sync(0xffffffffu, value, 9));
  put(static_cast<int>(__ballot_sync(0xffffffffu, value & 1)));
  put(static_cast<int>(__match_any_sync(0xffffffffu, value & 3)));
  put(__popc(value));
  put(static_cast<int>(__byte_perm(value, 0x33221100, 0x5410)));
}

// out[0]: the sum over all threads, computed with shared and global atomics.
extern "C" __global__ void test_atomics(const int* in, int* out) {
  __shared__ int sum;
  if (threadIdx.x == 0) sum = 0;
  __syncthreads();
  atomicAdd(&sum, in[threadIdx.x]);
  __syncthreads();
  if (threadIdx.x == 0) atomicAdd(out, sum);
}
