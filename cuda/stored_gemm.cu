// The kernels of the two matrix products with packed weights, on tensor cores: as gemm.cu, with fewer tile shapes.
#include "epilogue.cuh"
#include "gemm_tiles.cuh"
#include "stored_loader.cuh"

#define YAMOE_STORED(name, Store, tile, bits, T, blocks)                             \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks)        \
      name(const yamoe::StoredArguments<T> arguments) {                              \
    using namespace yamoe;                                                           \
    grouped_gemm<Stored<tile, T, bits>>(arguments, Store<tile, true, T>{arguments}); \
  }

#define YAMOE_STORED_BOTH(tile, suffix, bits, T, blocks)                        \
  YAMOE_STORED(gated_##suffix##_##bits##bit, StoreGated, tile, bits, T, blocks) \
  YAMOE_STORED(plain_##suffix##_##bits##bit, StorePlain, tile, bits, T, blocks)

#define YAMOE_STORED_GEMMS(dtype, T)               \
  YAMOE_STORED_BOTH(Tile128, 128_##dtype, 4, T, 2) \
  YAMOE_STORED_BOTH(Tile64, 64_##dtype, 4, T, 3)   \
  YAMOE_STORED_BOTH(Tile128, 128_##dtype, 8, T, 2) \
  YAMOE_STORED_BOTH(Tile64, 64_##dtype, 8, T, 3)

YAMOE_STORED_GEMMS(f16, __half)
#if __CUDA_ARCH__ >= 800  // older tensor cores do not support bf16
YAMOE_STORED_GEMMS(bf16, __nv_bfloat16)
#endif
