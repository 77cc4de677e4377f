// Experiment: rows as N.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "element.cuh"
#include "epilogue.cuh"
#include "rows_gemm.cuh"
namespace yamoe {
using A = RowsTile<3, 1, 256, 1, 160, 32>;
using B = RowsTile<3, 2, 128, 1, 160, 32>;
using C = RowsTile<2, 2, 192, 2, 232, 24>;
}
#define YAMOE_ROWS(name, Arguments, Loader, Store, tile, layout, T)                                                \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, 1)                                           \
      name(const __grid_constant__ yamoe::Arguments<T> arguments) {                                                \
    using namespace yamoe;                                                                                         \
    const Product<T> product = arguments;                                                                          \
    const Store<tile, WeightLayout::layout, T> store{product};                                                     \
    rows_gemm<Loader<tile, WeightLayout::layout, T>>(arguments, store);                                            \
  }
#define YAMOE_BOTH(dtype, name, tile, layout, T, Gated)                                                             \
  YAMOE_ROWS(gated_rows##tile##_##dtype##_##name, BoxedArguments, RowsGatheringLoader, Gated, tile, layout, T)      \
  YAMOE_ROWS(plain_rows##tile##_##dtype##_##name, BoxedRowsArguments, RowsBoxLoader, RowsStorePlain, tile, layout, T)

YAMOE_BOTH(bf16, in_out, A, kInOut, __nv_bfloat16, RowsStoreGated)
YAMOE_BOTH(bf16, out_in, A, kOutIn, __nv_bfloat16, RowsStoreGated)
YAMOE_BOTH(bf16, in_out, B, kInOut, __nv_bfloat16, RowsStoreGated)
YAMOE_BOTH(bf16, out_in, B, kOutIn, __nv_bfloat16, RowsStoreTwin)
YAMOE_BOTH(bf16, in_out, C, kInOut, __nv_bfloat16, RowsStoreGated)
YAMOE_BOTH(bf16, out_in, C, kOutIn, __nv_bfloat16, RowsStoreTwin)
#endif
