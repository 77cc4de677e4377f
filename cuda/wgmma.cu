// The kernels of the two matrix products for Hopper, for swish with a gate; gemm.cu has the other activations.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "warpgroup_epilogue.cuh"

namespace yamoe {

//                                rows columns stages
using Wgmma256 = WarpgroupTile<256, 192, 4>;
using Wgmma128 = WarpgroupTile<128, 192, 5>;

}  // namespace yamoe

// As in gemm.cu, but the activation of `gated` is always kSwish, and `plain` does not have an activation or a row_index.
#define YAMOE_WGMMA(name, Arguments, Loader, Store, tile, layout, T)        \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1)    \
      name(const __grid_constant__ yamoe::Arguments<T> arguments) {         \
    using namespace yamoe;                                                  \
    const Product<T> product = arguments;                                   \
    const Store<tile, WeightLayout::layout, T> store{product};              \
    warpgroup_gemm<Loader<tile, WeightLayout::layout, T>>(arguments, store); \
  }

#define YAMOE_GATED_WGMMA(rows, dtype, name, layout, T)                                                  \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_##name, BoxedArguments, GatheringLoader, WarpgroupStoreGated, \
              Wgmma##rows, layout, T)
#define YAMOE_PLAIN_WGMMA(rows, dtype, name, layout, T)                                                 \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_##name, BoxedRowsArguments, BoxLoader, WarpgroupStorePlain, \
              Wgmma##rows, layout, T)

#define YAMOE_WGMMAS(rows, dtype, T)                            \
  YAMOE_GATED_WGMMA(rows, dtype, in_out, kInOut, T)             \
  YAMOE_PLAIN_WGMMA(rows, dtype, in_out, kInOut, T)             \
  YAMOE_GATED_WGMMA(rows, dtype, in_out_split, kInOutSplit, T)  \
  YAMOE_GATED_WGMMA(rows, dtype, out_in, kOutIn, T)             \
  YAMOE_PLAIN_WGMMA(rows, dtype, out_in, kOutIn, T)

YAMOE_WGMMAS(256, f16, __half)
YAMOE_WGMMAS(256, bf16, __nv_bfloat16)
YAMOE_WGMMAS(128, f16, __half)
YAMOE_WGMMAS(128, bf16, __nv_bfloat16)

#endif
