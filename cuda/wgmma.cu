// The kernels of the two matrix products for Hopper, for swish with a gate; gemm.cu has the other activations.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "warpgroup_epilogue.cuh"

// As in gemm.cu, but the activation of `gated` is always kSwish, and `plain` does not have an activation or a row_index.
#define YAMOE_WGMMA(name, Arguments, Loader, Store, layout, T)                        \
  extern "C" __global__ void __launch_bounds__(yamoe::WarpgroupTile::kThreads, 1)     \
      name(const __grid_constant__ yamoe::Arguments<T> arguments) {                   \
    using namespace yamoe;                                                            \
    const Product<T> product = arguments;                                             \
    const Store<WarpgroupTile, WeightLayout::layout, T> store{product};               \
    warpgroup_gemm<Loader<WarpgroupTile, WeightLayout::layout, T>>(arguments, store); \
  }

#define YAMOE_GATED_WGMMA(dtype, name, layout, T) \
  YAMOE_WGMMA(gated_wgmma_##dtype##_##name, BoxedArguments, GatheringLoader, WarpgroupStoreGated, layout, T)
#define YAMOE_PLAIN_WGMMA(dtype, name, layout, T) \
  YAMOE_WGMMA(plain_wgmma_##dtype##_##name, BoxedRowsArguments, BoxLoader, WarpgroupStorePlain, layout, T)

#define YAMOE_WGMMAS(dtype, T)                           \
  YAMOE_GATED_WGMMA(dtype, in_out, kInOut, T)            \
  YAMOE_PLAIN_WGMMA(dtype, in_out, kInOut, T)            \
  YAMOE_GATED_WGMMA(dtype, in_out_split, kInOutSplit, T) \
  YAMOE_GATED_WGMMA(dtype, out_in, kOutIn, T)            \
  YAMOE_PLAIN_WGMMA(dtype, out_in, kOutIn, T)

YAMOE_WGMMAS(f16, __half)
YAMOE_WGMMAS(bf16, __nv_bfloat16)

#endif
