// The kernels of a layer's two products with packed weights, for Hopper.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "packed_few.cuh"
#include "packed_fp8.cuh"
#include "packed_gemm.cuh"
#include "packed_int4.cuh"
#include "packed_nvfp4.cuh"

namespace yamoe {

//                           rows stages widths
template <class Format>
using Packed64 = PackedTile<Format, 64, 14, 8, 16, 32, 48, 64>;
template <class Format>
using Packed160 = PackedTile<Format, 160, 8, 96, 128, 144, 160>;
template <class Format>
using Packed192 = PackedTile<Format, 192, 7, 64, 128, 192>;

// The scales are f16.
template <class T>
using SplitInt4 = Int4<T, true>;

}  // namespace yamoe

#define YAMOE_PACKED(name, tile, format)                                                                 \
  extern "C" __global__ void __launch_bounds__(yamoe::tile<yamoe::format>::kThreads, 1)                  \
      name(const __grid_constant__ yamoe::PackedArguments arguments) {                                   \
    using namespace yamoe;                                                                               \
    packed_gemm<tile<format>>(arguments, PackedStore<format::T, PackedArguments>{arguments});            \
  }
#define YAMOE_PACKED_FEW(name, format)                                                                   \
  extern "C" __global__ void __launch_bounds__(yamoe::kFewThreads, yamoe::kFewBlocks)                    \
      name(const __grid_constant__ yamoe::PackedFewArguments arguments) {                                \
    using namespace yamoe;                                                                               \
    packed_few<format>(arguments, PackedStore<format::T, PackedFewArguments>{arguments});                \
  }
#define YAMOE_PACKED_TILES(kind, dtype, format)          \
  YAMOE_PACKED_FEW(kind##_16_##dtype, format)            \
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
