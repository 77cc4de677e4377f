// The kernels of the two matrix products for few rows per expert on Hopper, for swish with a gate; gemm.cu has the other
// activations.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "stream_epilogue.cuh"

namespace yamoe {

//                           rows columns stages boxes
using Stream32 = StreamTile<32, 64, 4, 2>;

}  // namespace yamoe

// As in gemm.cu, but the activation of `gated` is always kSwish, and `plain` does not have an activation.
#define YAMOE_STREAM(name, gated, tile, blocks, layout, T)                        \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks)     \
      name(const __grid_constant__ yamoe::BoxedArguments<T> arguments) {          \
    using namespace yamoe;                                                        \
    const Product<T> product = arguments;                                         \
    const StreamStore<WeightLayout::layout, gated, T> store{product};             \
    stream_gemm<tile, WeightLayout::layout>(product, arguments.weights, store);   \
  }

#define YAMOE_STREAMS(rows, blocks, dtype, T)                                                               \
  YAMOE_STREAM(gated_stream##rows##_##dtype##_in_out, true, Stream##rows, blocks, kInOut, T)                \
  YAMOE_STREAM(plain_stream##rows##_##dtype##_in_out, false, Stream##rows, blocks, kInOut, T)               \
  YAMOE_STREAM(gated_stream##rows##_##dtype##_in_out_split, true, Stream##rows, blocks, kInOutSplit, T)     \
  YAMOE_STREAM(gated_stream##rows##_##dtype##_out_in, true, Stream##rows, blocks, kOutIn, T)                \
  YAMOE_STREAM(plain_stream##rows##_##dtype##_out_in, false, Stream##rows, blocks, kOutIn, T)

YAMOE_STREAMS(32, 2, f16, __half)
YAMOE_STREAMS(32, 2, bf16, __nv_bfloat16)

#endif
