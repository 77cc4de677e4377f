// The kernels of the two matrix products, in one tile shape for each range of rows an expert may have.
#include "epilogue.cuh"
#include "grouped_gemm.cuh"

namespace yamoe {

#if __CUDA_ARCH__ >= 800
constexpr int kStages = 4;
#else
constexpr int kStages = 2;  // 64 KiB of shared memory, and copies that pass through registers
#endif

//                        rows  cols  warps
using Tile256 = Tile<256, 128, 4, 2, kStages>;
using Tile128 = Tile<128, 128, 2, 2, kStages>;
using Tile64 = Tile<64, 128, 2, 2, kStages>;
using Tile16 = Tile<16, 128, 1, 2, kStages>;

template <class Tile, class T>
__device__ __forceinline__ void gate_up(const T* hidden, const T* weights, const T* bias, T* activations,
                                        const int* row_tokens, const int* row_offsets, const int* tile_offsets,
                                        int experts, int depth, int width, float alpha, float limit) {
  const Problem<T> problem{hidden, weights, row_tokens, row_offsets, tile_offsets, experts, depth, width};
  grouped_gemm<Tile>(problem, StoreSwiglu<Tile, T>{bias, activations, width, alpha, limit});
}

template <class Tile, class T>
__device__ __forceinline__ void down(const T* activations, const T* weights, const T* bias, T* rows,
                                     const int* row_offsets, const int* tile_offsets, int experts, int depth,
                                     int width) {
  const Problem<T> problem{activations, weights, nullptr, row_offsets, tile_offsets, experts, depth, width};
  grouped_gemm<Tile>(problem, StoreLinear<Tile, T>{bias, rows, width});
}

}  // namespace yamoe

#define YAMOE_GEMMS(tile, suffix, T, blocks)                                                                             \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks) gate_up_##suffix(                           \
      const T* hidden, const T* weights, const T* bias, T* activations, const int* row_tokens, const int* row_offsets,    \
      const int* tile_offsets, int experts, int depth, int width, float alpha, float limit) {                             \
    yamoe::gate_up<yamoe::tile>(hidden, weights, bias, activations, row_tokens, row_offsets, tile_offsets, experts,       \
                                depth, width, alpha, limit);                                                              \
  }                                                                                                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks) down_##suffix(                              \
      const T* activations, const T* weights, const T* bias, T* rows, const int* row_offsets, const int* tile_offsets,    \
      int experts, int depth, int width) {                                                                                \
    yamoe::down<yamoe::tile>(activations, weights, bias, rows, row_offsets, tile_offsets, experts, depth, width);         \
  }

YAMOE_GEMMS(Tile256, 256_f16, __half, 1)
YAMOE_GEMMS(Tile128, 128_f16, __half, 2)
YAMOE_GEMMS(Tile64, 64_f16, __half, 3)
YAMOE_GEMMS(Tile16, 16_f16, __half, 4)
