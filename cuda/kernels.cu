// All kernels, as one image for each architecture.
#include "combine.cu"
#include "gemm.cu"
#include "sort.cu"
