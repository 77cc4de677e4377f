// The kernels of the two matrix products on tensor cores, in one tile shape for each range of rows an expert may have.
#include "epilogue.cuh"
#include "grouped_gemm.cuh"

namespace yamoe {

#if __CUDA_ARCH__ >= 800
constexpr int kStages = 4;
constexpr int kManyStages = 8;
#else
constexpr int kStages = 2;  // 64 KiB of shared memory, and copies that pass through registers
constexpr int kManyStages = 2;
#endif

//                        rows  cols  warps
using Tile256 = Tile<256, 128, 4, 2, kStages>;
using Tile128 = Tile<128, 128, 2, 2, kStages>;
using Tile64 = Tile<64, 128, 2, 2, kStages>;
// For a few rows all that counts is how many bytes of the weights are on their way: many small blocks, far ahead.
using Tile16 = Tile<16, 64, 1, 1, kManyStages>;

}  // namespace yamoe

// With s, a row's scale, or 1,
// gated: the first product where it has gates: out[row][column] = f(gate) (up + shift) of s a[row_index[row]] weights + bias.
// plain: the second product, and the first without gates: out[row][column] = f(s a[row_index[row]] weights + bias).
#define YAMOE_GEMM(name, Store, tile, out_in, T, blocks)                                        \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks)                   \
      name(YAMOE_PRODUCT_PARAMETERS(T, const T* weights)) {                                     \
    using namespace yamoe;                                                                      \
    const Store<tile, out_in, T> store{bias, row_scales, out, {width, half}, YAMOE_ACTIVATION}; \
    grouped_gemm<tile, out_in>(Problem<T> YAMOE_PROBLEM(weights), store);                       \
  }

#define YAMOE_BOTH(tile, suffix, out_in, T, blocks)               \
  YAMOE_GEMM(gated_##suffix, StoreGated, tile, out_in, T, blocks) \
  YAMOE_GEMM(plain_##suffix, StorePlain, tile, out_in, T, blocks)

#define YAMOE_GEMMS(dtype, layout, out_in, T)               \
  YAMOE_BOTH(Tile256, 256_##dtype##_##layout, out_in, T, 1) \
  YAMOE_BOTH(Tile128, 128_##dtype##_##layout, out_in, T, 2) \
  YAMOE_BOTH(Tile64, 64_##dtype##_##layout, out_in, T, 3)   \
  YAMOE_BOTH(Tile16, 16_##dtype##_##layout, out_in, T, 5)

YAMOE_GEMMS(f16, in_out, false, __half)
YAMOE_GEMMS(f16, out_in, true, __half)
#if __CUDA_ARCH__ >= 800  // before, tensor cores do not know bf16
YAMOE_GEMMS(bf16, in_out, false, __nv_bfloat16)
YAMOE_GEMMS(bf16, out_in, true, __nv_bfloat16)
#endif
