// The kernels of the two matrix products for Hopper, for the activations of the models that run there; gemm.cu has the others.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a, which nothing but Hopper runs
#include "warpgroup_epilogue.cuh"

namespace yamoe {

// Registers: storing gates and ups of an in-out B takes more than copying leaves.
//                                rows columns stages registers
template <bool kOutIn>
using Wgmma256 = WarpgroupTile<256, 192, 4, kOutIn ? 40 : 24, kOutIn ? 232 : 240>;
template <bool kOutIn>
using Wgmma128 = WarpgroupTile<128, 192, 5, 40, 232>;

}  // namespace yamoe

// As in gemm.cu, where gated's activation is that of kSwish and plain has none.
#define YAMOE_WGMMA(name, Store, tile, out_in, T)                                                                         \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1)                                                  \
      name(YAMOE_PRODUCT_PARAMETERS(T, const __grid_constant__ yamoe::TensorMap weights)) {                               \
    using namespace yamoe;                                                                                                \
    const Store<tile, out_in, T> store{bias, row_scales, out, {width, half}, YAMOE_ACTIVATION};                           \
    warpgroup_gemm<tile, out_in>(Problem<T> YAMOE_PROBLEM(nullptr), weights, store);                                      \
  }

#define YAMOE_WGMMAS(rows, dtype, layout, out_in, T)                                                             \
  YAMOE_WGMMA(gated_wgmma##rows##_##dtype##_##layout, WarpgroupStoreGated, Wgmma##rows<out_in>, out_in, T)               \
  YAMOE_WGMMA(plain_wgmma##rows##_##dtype##_##layout, WarpgroupStorePlain, Wgmma##rows<out_in>, out_in, T)

YAMOE_WGMMAS(256, f16, in_out, false, __half)
YAMOE_WGMMAS(256, f16, out_in, true, __half)
YAMOE_WGMMAS(256, bf16, in_out, false, __nv_bfloat16)
YAMOE_WGMMAS(256, bf16, out_in, true, __nv_bfloat16)
YAMOE_WGMMAS(128, f16, in_out, false, __half)
YAMOE_WGMMAS(128, f16, out_in, true, __half)
YAMOE_WGMMAS(128, bf16, in_out, false, __nv_bfloat16)
YAMOE_WGMMAS(128, bf16, out_in, true, __nv_bfloat16)

#endif
