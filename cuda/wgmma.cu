// The kernels of the two matrix products for Hopper, for swish with a gate; gemm.cu has the other activations.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "warpgroup_epilogue.cuh"

namespace yamoe {

//                                rows columns stages
using Wgmma256 = WarpgroupTile<256, 192, 4>;
using Wgmma128 = WarpgroupTile<128, 192, 5>;

}  // namespace yamoe

// As in gemm.cu, but the activation of `gated` is always kSwish, and `plain` does not have an activation.
#define YAMOE_WGMMA(name, Store, tile, layout, T)                                  \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1)           \
      name(const __grid_constant__ yamoe::BoxedArguments<T> arguments) {       \
    using namespace yamoe;                                                         \
    const Product<T> product = arguments;                                          \
    const Store<tile, WeightLayout::layout, T> store{product};                     \
    warpgroup_gemm<tile, WeightLayout::layout>(product, arguments.weights, store); \
  }

#define YAMOE_WGMMAS(rows, dtype, T)                                                                        \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_in_out, WarpgroupStoreGated, Wgmma##rows, kInOut, T)            \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_in_out, WarpgroupStorePlain, Wgmma##rows, kInOut, T)            \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_in_out_split, WarpgroupStoreGated, Wgmma##rows, kInOutSplit, T) \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_out_in, WarpgroupStoreGated, Wgmma##rows, kOutIn, T)            \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_out_in, WarpgroupStorePlain, Wgmma##rows, kOutIn, T)

YAMOE_WGMMAS(256, f16, __half)
YAMOE_WGMMAS(256, bf16, __nv_bfloat16)
YAMOE_WGMMAS(128, f16, __half)
YAMOE_WGMMAS(128, bf16, __nv_bfloat16)

#endif
