// Experiment: rows as N.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "element.cuh"
#include "epilogue.cuh"
#include "rows_gemm.cuh"

#define YAMOE_ROWS(name, Arguments, Loader, Store, layout, T)                                                      \
  extern "C" __global__ void __launch_bounds__(yamoe::RowsTile::kThreads, 1)                                       \
      name(const __grid_constant__ yamoe::Arguments<T> arguments) {                                                \
    using namespace yamoe;                                                                                         \
    const Product<T> product = arguments;                                                                          \
    const Store<WeightLayout::layout, T> store{product};                                                           \
    rows_gemm<Loader<WeightLayout::layout, T>>(arguments, store);                                                  \
  }
#define YAMOE_BOTH(dtype, name, layout, T)                                                                          \
  YAMOE_ROWS(gated_rows_##dtype##_##name, BoxedArguments, RowsGatheringLoader, RowsStoreGated, layout, T)           \
  YAMOE_ROWS(plain_rows_##dtype##_##name, BoxedRowsArguments, RowsBoxLoader, RowsStorePlain, layout, T)

YAMOE_BOTH(bf16, in_out, kInOut, __nv_bfloat16)
YAMOE_BOTH(bf16, out_in, kOutIn, __nv_bfloat16)
#endif
