// The kernels of the two matrix products on tensor cores, in several tile shapes for different numbers of rows per
// expert.
#include "dense_weights.cuh"
#include "epilogue.cuh"
#include "gemm_tiles.cuh"

// With x = row_scales[row] input[row_index[row]] weights + bias:
// gated (the first product with a gate): out[row][column] = f(gate) (up + shift), of two columns of x.
// plain (the second product, and the first without a gate): out[row][column] = f(x).
#define YAMOE_GEMM(name, Store, tile, B, T, blocks)                                     \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks)           \
      name(const yamoe::ProductArguments<T> arguments) {                                \
    using namespace yamoe;                                                              \
    grouped_gemm<B<tile, T>>(arguments, Store<tile, B<tile, T>::kOutIn, T>{arguments}); \
  }

#define YAMOE_BOTH(tile, suffix, B, T, blocks)               \
  YAMOE_GEMM(gated_##suffix, StoreGated, tile, B, T, blocks) \
  YAMOE_GEMM(plain_##suffix, StorePlain, tile, B, T, blocks)

#define YAMOE_GEMMS(dtype, layout, B, T)               \
  YAMOE_BOTH(Tile256, 256_##dtype##_##layout, B, T, 1) \
  YAMOE_BOTH(Tile128, 128_##dtype##_##layout, B, T, 2) \
  YAMOE_BOTH(Tile64, 64_##dtype##_##layout, B, T, 3)   \
  YAMOE_BOTH(Tile16, 16_##dtype##_##layout, B, T, 5)

YAMOE_GEMMS(f16, in_out, InOut, __half)
YAMOE_GEMMS(f16, out_in, OutIn, __half)
#if __CUDA_ARCH__ >= 800  // older tensor cores do not support bf16
YAMOE_GEMMS(bf16, in_out, InOut, __nv_bfloat16)
YAMOE_GEMMS(bf16, out_in, OutIn, __nv_bfloat16)
#endif
