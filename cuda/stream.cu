// The kernels of both products of a layer for few rows per expert on Hopper, for swish with a gate; gemm.cu has the other
// activations.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL  // sm_90a: runs only on Hopper
#include "stream_epilogue.cuh"

namespace yamoe {

//                           rows columns stages boxes
using Stream32 = StreamTile<32, 64, 4, 2>;

}  // namespace yamoe

// The activation between the products is always kSwish.
#define YAMOE_STREAM(layout_name, layout, dtype, T)                                                   \
  extern "C" __global__ void __launch_bounds__(yamoe::Stream32::kThreads, 2)                          \
      stream32_##dtype##_##layout_name(const __grid_constant__ yamoe::StreamArguments<T> arguments) { \
    using namespace yamoe;                                                                            \
    stream_layer<Stream32, WeightLayout::layout, StreamStore>(arguments);                             \
  }

#define YAMOE_STREAMS(dtype, T)                     \
  YAMOE_STREAM(in_out, kInOut, dtype, T)            \
  YAMOE_STREAM(in_out_split, kInOutSplit, dtype, T) \
  YAMOE_STREAM(out_in, kOutIn, dtype, T)

YAMOE_STREAMS(f16, __half)
YAMOE_STREAMS(bf16, __nv_bfloat16)

#endif
