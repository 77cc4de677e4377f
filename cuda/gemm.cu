// The kernels of the two matrix products on tensor cores, in several tile shapes for different numbers of rows per
// expert.
#include "epilogue.cuh"
#include "grouped_gemm.cuh"

namespace yamoe {

#if __CUDA_ARCH__ >= 800
constexpr int kStages = 4;
constexpr int kManyStages = 8;
#else
constexpr int kStages = 2;  // 64 KiB of shared memory, and copies go through registers
constexpr int kManyStages = 2;
#endif

//                        rows  cols  warps
using Tile256 = Tile<256, 128, 4, 2, kStages>;
using Tile128 = Tile<128, 128, 2, 2, kStages>;
using Tile64 = Tile<64, 128, 2, 2, kStages>;
// For few rows the bytes in flight matter most: many small blocks whose copies run far ahead.
using Tile16 = Tile<16, 64, 1, 1, kManyStages>;

}  // namespace yamoe

// With x = row_scales[row] input[row_index[row]] weights + bias:
// gated (the first product with a gate): out[row][column] = f(gate) (up + shift), of two columns of x.
// plain (the second product, and the first without a gate): out[row][column] = f(x).
#define YAMOE_GEMM(name, Store, tile, out_in, T, blocks)                      \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks) \
      name(const yamoe::ProductArguments<T> arguments) {                      \
    using namespace yamoe;                                                    \
    grouped_gemm<tile, out_in>(arguments, Store<tile, out_in, T>{arguments}); \
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
#if __CUDA_ARCH__ >= 800  // older tensor cores do not support bf16
YAMOE_GEMMS(bf16, in_out, false, __nv_bfloat16)
YAMOE_GEMMS(bf16, out_in, true, __nv_bfloat16)
#endif
