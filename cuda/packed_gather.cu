// The kernel that gathers the hidden states into panels, for Hopper: see packed_gemm.cuh.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_panels.cuh"

namespace yamoe {

constexpr int kPanelThreads = 256;
constexpr int kPanelRows = kPanelThreads / 8;  // of a block: eight threads copy the 128 bytes of a row
constexpr int kPanelsPerBlock = 9;

struct GatherPanelsArguments {
  const unsigned char* input;  // [tokens][depth], 16-bit elements
  const int* row_tokens;       // [rows]: the token of each row
  const int* row_offsets;      // [experts + 1]: the first row of each expert
  unsigned char* panels;       // out: the gathered rows
  unsigned char* activations;  // out: panels of `intermediate` columns; the last one becomes zeros if it is not full
  int experts, depth, intermediate;
  int rows;  // of a panel
};

}  // namespace yamoe

// Eight threads for each row, kPanelRows rows and kPanelsPerBlock panels for each block.
extern "C" __global__ void __launch_bounds__(yamoe::kPanelThreads) gather_panels(
    const yamoe::GatherPanelsArguments p) {
  using namespace yamoe;
  wait_for_previous_kernel();
  allow_next_kernel();
  const int threads = gridDim.x * kPanelThreads, thread = blockIdx.x * kPanelThreads + threadIdx.x;
  if (p.intermediate % 64) {
    unsigned char* const last = p.activations + static_cast<size_t>(p.intermediate / 64) * p.rows * 128;
    for (int i = thread; i < p.rows * 8; i += threads) reinterpret_cast<uint4*>(last)[i] = make_uint4(0, 0, 0, 0);
  }

  const int panels = ceil_div(p.depth, 64), groups = ceil_div(panels, kPanelsPerBlock);
  const int row = blockIdx.x / groups * kPanelRows + threadIdx.x / 8, lane = threadIdx.x % 8;
  int start = 0;  // the first row of the row's expert: the greatest offset that is not greater than the row
  for (int e = lane; e < p.experts; e += 8) {
    const int offset = p.row_offsets[e];
    if (offset <= row) start = max(start, offset);
  }
#pragma unroll
  for (int distance = 1; distance < 8; distance *= 2) start = max(start, __shfl_xor_sync(0xffffffffu, start, distance));
  if (row >= p.row_offsets[p.experts]) return;

  const int first = blockIdx.x % groups * kPanelsPerBlock;
  const unsigned char* const from = p.input + static_cast<size_t>(p.row_tokens[row]) * p.depth * 2;
  uint4 v[kPanelsPerBlock];
#pragma unroll
  for (int i = 0; i < kPanelsPerBlock; ++i) {
    const int k = (first + i) * 64 + lane * 8;
    v[i] = k < p.depth ? *reinterpret_cast<const uint4*>(from + k * 2) : make_uint4(0, 0, 0, 0);
  }
#pragma unroll
  for (int i = 0; i < kPanelsPerBlock; ++i) {
    if (first + i < panels) {
      const size_t to = panel_offset(p.rows, row, row - start, (first + i) * 64 + lane * 8);
      *reinterpret_cast<uint4*>(p.panels + to) = v[i];
    }
  }
}
#endif
