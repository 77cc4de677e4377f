// The kernels of the two matrix products for Hopper, for the activations of the models that run there; gemm.cu has the others.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a, which nothing but Hopper runs
#include "warpgroup_epilogue.cuh"

namespace yamoe {

//                                rows columns stages
using Wgmma256 = WarpgroupTile<256, 192, 4>;
using Wgmma128 = WarpgroupTile<128, 192, 5>;

}  // namespace yamoe

// As in gemm.cu, where gated's activation is that of kSwish and plain has none.
#define YAMOE_WGMMA(name, Store, tile, layout, T)                                                             \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1)                                      \
      name(YAMOE_PRODUCT_PARAMETERS(T, const __grid_constant__ yamoe::TensorMap weights)) {                   \
    using namespace yamoe;                                                                                    \
    const Store<tile, WeightLayout::layout, T> store{bias, row_scales, out, {width, half}, YAMOE_ACTIVATION}; \
    warpgroup_gemm<tile, WeightLayout::layout>(Problem<T> YAMOE_PROBLEM(nullptr), weights, store);            \
  }

#define YAMOE_WGMMAS(rows, dtype, T)                                                                        \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_in_out, WarpgroupStoreGated, Wgmma##rows, kInOut, T)            \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_in_out, WarpgroupStorePlain, Wgmma##rows, kInOut, T)            \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_in_out_apart, WarpgroupStoreGated, Wgmma##rows, kInOutApart, T) \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_out_in, WarpgroupStoreGated, Wgmma##rows, kOutIn, T)            \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_out_in, WarpgroupStorePlain, Wgmma##rows, kOutIn, T)

YAMOE_WGMMAS(256, f16, __half)
YAMOE_WGMMAS(256, bf16, __nv_bfloat16)
YAMOE_WGMMAS(128, f16, __half)
YAMOE_WGMMAS(128, bf16, __nv_bfloat16)

#endif
