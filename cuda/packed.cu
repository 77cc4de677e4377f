// The kernels of a layer's two products with packed weights, for Hopper.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "packed_epilogue.cuh"
#include "packed_fp8.cuh"
#include "packed_int4.cuh"
#include "packed_nvfp4.cuh"

namespace yamoe {

//                                     strips rows deep stages blocks widths
template <class Format>
using Packed16 = PackedTile<Format, 1, 16, 4, 3, 4, 8, 16>;
template <class Format>
using Packed64 = PackedTile<Format, 3, 64, 1, 14, 1, 8, 16, 32, 48, 64>;
template <class Format>
using Packed160 = PackedTile<Format, 3, 160, 1, 8, 1, 96, 128, 144, 160>;
template <class Format>
using Packed192 = PackedTile<Format, 3, 192, 1, 7, 1, 64, 128, 192>;

// The scales are f16.
template <class T>
using SplitInt4 = Int4<T, true>;

}  // namespace yamoe

#define YAMOE_PACKED(name, tile, format)                                                               \
  extern "C" __global__ void __launch_bounds__(yamoe::tile<yamoe::format>::kThreads, yamoe::tile<yamoe::format>::kBlocks) \
      name(const __grid_constant__ yamoe::PackedArguments arguments) {                                 \
    using namespace yamoe;                                                                             \
    packed_gemm<tile<format>>(arguments, PackedStore<format::T>{arguments});                           \
  }
#define YAMOE_PACKED_TILES(kind, dtype, format)          \
  YAMOE_PACKED(kind##_16_##dtype, Packed16, format)      \
  YAMOE_PACKED(kind##_64_##dtype, Packed64, format)      \
  YAMOE_PACKED(kind##_160_##dtype, Packed160, format)    \
  YAMOE_PACKED(kind##_192_##dtype, Packed192, format)

YAMOE_PACKED_TILES(mxfp4, bf16, Mxfp4<__nv_bfloat16>)
YAMOE_PACKED_TILES(mxfp4, f16, Mxfp4<__half>)
YAMOE_PACKED_TILES(nvfp4, bf16, Nvfp4<__nv_bfloat16>)
YAMOE_PACKED_TILES(nvfp4, f16, Nvfp4<__half>)
YAMOE_PACKED_TILES(int4, bf16, Int4<__nv_bfloat16>)
YAMOE_PACKED_TILES(int4, f16, Int4<__half>)
YAMOE_PACKED_TILES(int4_split, bf16, SplitInt4<__nv_bfloat16>)
YAMOE_PACKED_TILES(fp8, bf16, Fp8<__nv_bfloat16>)
YAMOE_PACKED_TILES(fp8, f16, Fp8<__half>)
#endif
