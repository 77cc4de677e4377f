// All kernels, as one image for each architecture.
#include "combine.cu"
#include "gemm.cu"
#include "linear.cu"
#include "ops.cu"
#include "router.cu"
#include "simt_gemm.cu"
#include "sort.cu"
#include "wgmma.cu"
