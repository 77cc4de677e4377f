// wgmma with A in registers, and groups of products. A is [64][64], B is [32][64]; `in` contains
// both, with 16-bit elements. `fixed` as in faults.cu.
#include <ptx_packed.cuh>

using namespace yamoe;

constexpr int kStage = 32 * 128;

// Copies B to a stage.
__device__ void copy_b(const uint4* in, int stage) {
  for (int i = threadIdx.x; i < 32 * 8; i += 128) {
    const int row = i / 8, chunk = i % 8;
    *reinterpret_cast<uint4*>(dynamic_smem() + stage * kStage + row * 128 + (chunk ^ (row & 7)) * 16) = in[64 * 8 + i];
  }
  fence_async_proxy();
  __syncthreads();
}

// Loads the operand of 16 columns of A.
__device__ void load_a(const uint32_t* in, int step, uint32_t* a) {
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  for (int r = 0; r < 4; ++r) { a[r] = in[(warp * 16 + lane / 4 + r % 2 * 8) * 32 + step * 8 + r / 2 * 4 + lane % 4]; }
}

template <class T>
__device__ void multiply_step(float (&sums)[4][4], const uint32_t* a, int stage, int step) {
  wgmma_fence();
  wgmma_registers<T>(sums, a, wgmma_descriptor(shared_address(dynamic_smem()) + stage * kStage + step * 32));
  wgmma_commit();
}

// out[m][n] = sum of a[m][k] b[n][k].
template <class T>
__device__ void multiply(const uint32_t* in, float* out) {
  copy_b(reinterpret_cast<const uint4*>(in), 0);
  float sums[4][4] = {};
  uint32_t a[4][4];
  for (int step = 0; step < 4; ++step) {
    load_a(in, step, a[step]);
    multiply_step<T>(sums, a[step], 0, step);
  }
  wgmma_wait_groups<0>();
  sums_are_complete<4>(sums);
  for (int i = 0; i < 16; ++i) {
    const int m = threadIdx.x / 32 * 16 + threadIdx.x % 32 / 4 + i % 4 / 2 * 8;
    out[m * 32 + i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2] = sums[i / 4][i % 4];
  }
}
extern "C" __global__ void test_registers_f16(const uint32_t* in, float* out) { multiply<__half>(in, out); }
extern "C" __global__ void test_registers_bf16(const uint32_t* in, float* out) { multiply<__nv_bfloat16>(in, out); }

#define FAULTY(name) extern "C" __global__ void name(const uint32_t* in, float* out, int fixed)

FAULTY(fault_registers_changed_in_flight) {
  copy_b(reinterpret_cast<const uint4*>(in), 0);
  float sums[4][4] = {};
  uint32_t a[4];
  load_a(in, 0, a);
  multiply_step<__half>(sums, a, 0, 0);
  if (fixed) wgmma_wait_groups<0>();
  load_a(in, 1, a);
  multiply_step<__half>(sums, a, 0, 1);
  wgmma_wait_groups<0>();
  sums_are_complete<4>(sums);
  out[threadIdx.x] = sums[0][0];
}

FAULTY(fault_stage_overwritten_while_a_group_is_pending) {
  copy_b(reinterpret_cast<const uint4*>(in), 0);
  copy_b(reinterpret_cast<const uint4*>(in), 1);
  float sums[4][4] = {};
  uint32_t a[4];
  load_a(in, 0, a);
  for (int stage = 0; stage < 2; ++stage) multiply_step<__half>(sums, a, stage, 0);
  wgmma_wait_groups<1>();
  __syncthreads();
  copy_b(reinterpret_cast<const uint4*>(in), fixed ? 0 : 1);
  wgmma_wait_groups<0>();
  sums_are_complete<4>(sums);
  out[threadIdx.x] = sums[0][0];
}
