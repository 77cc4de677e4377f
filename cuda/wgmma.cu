// The kernels of the two matrix products for Hopper, for the activations of the models that run there; gemm.cu has the others.
#include "warpgroup_epilogue.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a, which nothing but Hopper runs

namespace yamoe {

//                                rows columns stages registers
using Wgmma256 = WarpgroupTile<256, 192, 4, 24, 232>;
using Wgmma128 = WarpgroupTile<128, 192, 5, 40, 216>;

}  // namespace yamoe

// As in gemm.cu, where gated's activation is that of kSwish and plain has none.
#define YAMOE_WGMMA(name, Store, tile, out_in, T)                                                                        \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1) name(YAMOE_PRODUCT_PARAMETERS(T)) {              \
    using namespace yamoe;                                                                                                \
    const Store<tile, out_in, T> store{bias, row_scales, out, {width, half}, YAMOE_ACTIVATION};                           \
    warpgroup_gemm<tile, out_in>(Problem<T> YAMOE_PROBLEM, store);                                                        \
  }

#define YAMOE_WGMMAS(rows, dtype, layout, out_in, T)                                                             \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_##layout, WarpgroupStoreGated, Wgmma##rows, out_in, T)               \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_##layout, WarpgroupStorePlain, Wgmma##rows, out_in, T)

YAMOE_WGMMAS(256, f16, in_out, false, __half)
YAMOE_WGMMAS(256, f16, out_in, true, __half)
YAMOE_WGMMAS(256, bf16, in_out, false, __nv_bfloat16)
YAMOE_WGMMAS(256, bf16, out_in, true, __nv_bfloat16)
YAMOE_WGMMAS(128, f16, in_out, false, __half)
YAMOE_WGMMAS(128, f16, out_in, true, __half)
YAMOE_WGMMAS(128, bf16, in_out, false, __nv_bfloat16)
YAMOE_WGMMAS(128, bf16, out_in, true, __nv_bfloat16)

#endif
