// Kernels that may start before the kernel before them is complete, right and wrong.
#include <ptx.cuh>

using namespace yamoe;

extern "C" __global__ void test_first(int* out) {
  follow_previous_kernel();
  out[threadIdx.x] = threadIdx.x;
}

extern "C" __global__ void test_right(const int* weights, const int* in, int* out) {
  const int weight = weights[threadIdx.x];
  follow_previous_kernel();
  out[threadIdx.x] = in[threadIdx.x] + weight;
}

extern "C" __global__ void test_early_read(const int* in, int* out) {
  const int value = in[threadIdx.x];  // EARLY READ
  follow_previous_kernel();
  out[threadIdx.x] = value;
}

extern "C" __global__ void test_early_write(int* out) {
  out[threadIdx.x] = 1;  // EARLY WRITE
  follow_previous_kernel();
}

extern "C" __global__ void test_early_allow(int* out) {
  allow_next_kernel();  // EARLY ALLOW
  wait_for_previous_kernel();
  out[threadIdx.x] = 1;
}

extern "C" __global__ void test_other_thread(const int* in, int* out) {
  if (threadIdx.x == 0) follow_previous_kernel();
  if (threadIdx.x < 2) out[threadIdx.x] = in[threadIdx.x];  // OTHER THREAD
}

extern "C" __global__ void test_no_work(int* out, int n) {
  if (n == 0) return;
  follow_previous_kernel();
  out[threadIdx.x] = 1;
}

extern "C" __global__ void test_without_wait(int* out) { out[threadIdx.x] = 1; }
