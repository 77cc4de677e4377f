#include <cstdio>
#include <vector>
#include <algorithm>
#include <random>
#include <cuda_runtime.h>
#define KB_PARAM
#include "gg.cuh"
using namespace yamoe;
#define CK(x) do { cudaError_t e_ = (x); if (e_ != cudaSuccess) { printf("ERR %s line %d\n", cudaGetErrorString(e_), __LINE__); exit(1);} } while (0)

template <class Tile, int kBlocks>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks) k_up(Problem<__half> p, const __half* bias, __half* out) {
  grouped_gemm<Tile>(p, StoreSwiglu<Tile, __half>{bias, out, p.width, 1.702f, 7.f});
}
template <class Tile, int kBlocks>
__global__ void __launch_bounds__(Tile::kThreads, kBlocks) k_down(Problem<__half> p, const __half* bias, __half* out) {
  grouped_gemm<Tile>(p, StoreLinear<Tile, __half>{bias, out, p.width});
}
// mma.sync ceiling: registers only
__global__ void __launch_bounds__(256) k_mma(float* o, int iters) {
  float c[16][4] = {}; uint32_t a[4] = {threadIdx.x * 77777u & 0x3fff3fff, 0x3c003800, 0x38003c00, 0x3a003b00}; uint32_t b[2] = {0x3c003c00u ^ (threadIdx.x & 255), 0x34003500};
  for (int i = 0; i < iters; ++i)
#pragma unroll
    for (int j = 0; j < 16; ++j) mma_m16n8k16<__half>(c[j], a, b);
  float s = 0; for (int j = 0; j < 16; ++j) s += c[j][0] + c[j][3]; o[blockIdx.x * 256 + threadIdx.x] = s;
}
__global__ void fill(__half* p, size_t n, float scale, unsigned seed) {
  for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) {
    unsigned x = (unsigned)i * 2654435761u + seed; x ^= x >> 16; x *= 0x85ebca6b; x ^= x >> 13; x *= 0xc2b2ae35; x ^= x >> 16; unsigned y = x * 747796405u + 2891336453u; y ^= y >> 15; y *= 0x2c1b3c6d; y ^= y >> 12;
    float u1 = (x + 1.0f) * 2.3283064e-10f, u2 = y * 2.3283064e-10f; p[i] = __float2half(scale * sqrtf(-2 * logf(u1)) * cosf(6.2831853f * u2)); }
}
const int E = 32, R = 2048, H = 2880, I = 2880;
__half *x, *wu, *wd, *act, *y, *bias, *act_ref, *y_ref; int *idx, *ro, *to;
std::vector<float> med(std::vector<float> v) { std::sort(v.begin(), v.end()); return v; }
cudaEvent_t e0, e1;
template <class F> float timeit(F f, int n = 12) { std::vector<float> v; for (int i = 0; i < n; ++i) { cudaEventRecord(e0); f(); cudaEventRecord(e1); CK(cudaEventSynchronize(e1)); float ms; cudaEventElapsedTime(&ms, e0, e1); if (i >= 2) v.push_back(ms); } std::sort(v.begin(), v.end()); return v[v.size() / 2]; }
bool first = true;
__global__ void cmp(const uint4* a, const uint4* b, size_t n, int* bad) { for (size_t i = blockIdx.x * (size_t)blockDim.x + threadIdx.x; i < n; i += (size_t)gridDim.x * blockDim.x) { uint4 u = a[i], v = b[i]; if (u.x != v.x || u.y != v.y || u.z != v.z || u.w != v.w) atomicAdd(bad, 1); } }
template <class Tile, int kBlocks> void run(const char* name) {
  std::vector<int> t(E + 1); for (int e = 0; e <= E; ++e) t[e] = e * ((R + Tile::kBM - 1) / Tile::kBM); CK(cudaMemcpy(to, t.data(), (E + 1) * 4, cudaMemcpyHostToDevice));
  int sms = 132;
  CK(cudaFuncSetAttribute(k_up<Tile, kBlocks>, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes));
  CK(cudaFuncSetAttribute(k_down<Tile, kBlocks>, cudaFuncAttributeMaxDynamicSharedMemorySize, Tile::kSharedBytes));
  int occ; CK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&occ, k_up<Tile, kBlocks>, Tile::kThreads, Tile::kSharedBytes));
  cudaFuncAttributes at; cudaFuncGetAttributes(&at, k_up<Tile, kBlocks>);
  Problem<__half> pu{x, wu, idx, ro, to, E, H, 2 * I}, pd{act, wd, nullptr, ro, to, E, I, H};
  CK(cudaMemset(act, 0xff, (size_t)E * R * I * 2)); CK(cudaMemset(y, 0xff, (size_t)E * R * H * 2));
  float a = timeit([&] { k_up<Tile, kBlocks><<<sms * occ, Tile::kThreads, Tile::kSharedBytes>>>(pu, bias, act); });
  float b = timeit([&] { k_down<Tile, kBlocks><<<sms * occ, Tile::kThreads, Tile::kSharedBytes>>>(pd, bias, y); });
  CK(cudaDeviceSynchronize());
  int bad = 0; size_t na = (size_t)E * R * I / 8, ny = (size_t)E * R * H / 8; int* dbad; cudaMalloc(&dbad, 4); cudaMemset(dbad, 0, 4);
  if (first) { cudaMemcpy(act_ref, act, na * 16, cudaMemcpyDeviceToDevice); cudaMemcpy(y_ref, y, ny * 16, cudaMemcpyDeviceToDevice); first = false; }
  else { cmp<<<1024, 256>>>((uint4*)act, (uint4*)act_ref, na, dbad); cmp<<<1024, 256>>>((uint4*)y, (uint4*)y_ref, ny, dbad); cudaMemcpy(&bad, dbad, 4, cudaMemcpyDeviceToHost); }
  double f = 2.0 * E * R * (double)H * I;
  printf("%-28s regs %3d spill %zu smem %6d occ %d  up %.3f ms %.1f TF  down %.3f ms %.1f TF  total %.3f diff %d\n", name, at.numRegs, at.localSizeBytes, Tile::kSharedBytes, occ, a, 2 * f / a / 1e9, b, f / b / 1e9, a + b, bad);
  fflush(stdout);
}
int main() {
  cudaEventCreate(&e0); cudaEventCreate(&e1);
  size_t nx = (size_t)128 * 2048 * H;
  CK(cudaMalloc(&x, nx * 2)); CK(cudaMalloc(&wu, (size_t)E * H * 2 * I * 2)); CK(cudaMalloc(&wd, (size_t)E * I * H * 2)); CK(cudaMalloc(&act, (size_t)E * R * I * 2)); CK(cudaMalloc(&y, (size_t)E * R * H * 2)); CK(cudaMalloc(&act_ref, (size_t)E * R * I * 2)); CK(cudaMalloc(&y_ref, (size_t)E * R * H * 2)); CK(cudaMalloc(&bias, (size_t)E * 2 * I * 2));
  CK(cudaMalloc(&idx, E * R * 4)); CK(cudaMalloc(&ro, (E + 1) * 4)); CK(cudaMalloc(&to, (E + 1) * 4));
  fill<<<1024, 256>>>(x, nx, 0.1f, 1); fill<<<1024, 256>>>(wu, (size_t)E * H * 2 * I, 0.02f, 2); fill<<<1024, 256>>>(wd, (size_t)E * I * H, 0.02f, 3); fill<<<256, 256>>>(bias, (size_t)E * 2 * I, 0.5f, 4);
  std::vector<int> id(E * R), o(E + 1); for (int e = 0; e < E; ++e) { int t = e; for (int r = 0; r < R; ++r) { id[e * R + r] = t; t += 5 + (r * 7 + e) % 7; t %= 16384; } } for (int e = 0; e <= E; ++e) o[e] = e * R;
  CK(cudaMemcpy(idx, id.data(), E * R * 4, cudaMemcpyHostToDevice)); CK(cudaMemcpy(ro, o.data(), (E + 1) * 4, cudaMemcpyHostToDevice)); CK(cudaDeviceSynchronize());
  float* fo; CK(cudaMalloc(&fo, 132 * 4 * 256 * 4));
  for (int w : {1, 2, 4}) { float m = timeit([&] { k_mma<<<132 * w, 256>>>(fo, 4000); }); printf("mma.sync ceiling, %d CTAs of 8 warps a SM: %.1f TFLOP/s\n", w, 132.0 * w * 8 * 4000 * 16 * 4096 / m / 1e9); }
  size_t big = (size_t)1 << 31; void *c0, *c1; CK(cudaMalloc(&c0, big)); CK(cudaMalloc(&c1, big)); float cm = timeit([&] { cudaMemcpyAsync(c1, c0, big, cudaMemcpyDeviceToDevice); }); printf("copy %.2f TB/s (read + write)\n", 2.0 * big / cm / 1e9); cudaFree(c0); cudaFree(c1);
#include "configs.inc"
}
