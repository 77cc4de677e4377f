// The kernel that gathers the hidden states into panels, for Hopper: see packed_gemm.cuh. Each hidden state is loaded once
// and stored in all its rows, because loading it again for each row takes longer: see cuda/LADDER.md.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_panels.cuh"

namespace yamoe {

constexpr int kPanelThreads = 256;
constexpr int kPanelTokens = kPanelThreads / 8;  // of a block: eight threads copy the 128 bytes of a token

struct GatherPanelsArguments {
  const unsigned char* input;  // [tokens][depth], 16-bit elements
  const int* indices;          // [tokens][top_k]: the expert of each slot, or -1 if it is another GPU's
  const int* rows;             // [tokens][top_k]: the row of each slot, or -1
  const int* row_offsets;      // [experts + 1]: the first row of each expert
  unsigned char* panels;       // out: the gathered rows
  unsigned char* activations;  // out: panels of `intermediate` columns; the last one becomes zeros if it is not full
  int tokens, top_k, depth, intermediate;
  int panel_rows;
};

}  // namespace yamoe

// A block copies one panel of kPanelTokens tokens. All blocks of a panel are neighbours, so that at any time the stores go to few
// places in memory.
extern "C" __global__ void __launch_bounds__(yamoe::kPanelThreads) gather_panels(
    const yamoe::GatherPanelsArguments p) {
  using namespace yamoe;
  follow_previous_kernel();
  if (p.intermediate % 64) {
    const unsigned threads = gridDim.x * kPanelThreads, thread = blockIdx.x * kPanelThreads + threadIdx.x;
    unsigned char* const last = p.activations + static_cast<size_t>(p.intermediate / 64) * p.panel_rows * 128;
    for (unsigned i = thread; i < p.panel_rows * 8u; i += threads) {
      reinterpret_cast<uint4*>(last)[i] = make_uint4(0, 0, 0, 0);
    }
  }

  const int sets = ceil_div(p.tokens, kPanelTokens), lane = threadIdx.x % 8;
  const int t = static_cast<int>(blockIdx.x) % sets * kPanelTokens + threadIdx.x / 8;
  const int k = static_cast<int>(blockIdx.x) / sets * 64 + lane * 8;
  const bool exists = t < p.tokens;
  uint4 v = make_uint4(0, 0, 0, 0);
  if (exists && k < p.depth) v = *reinterpret_cast<const uint4*>(p.input + (static_cast<size_t>(t) * p.depth + k) * 2);
  for (int base = 0; base < p.top_k; base += 8) {
    int own_row = -1, own_number = 0;  // of the lane's slot; the number in its expert
    if (exists && base + lane < p.top_k) {
      const size_t slot = static_cast<size_t>(t) * p.top_k + base + lane;
      const int expert = p.indices[slot];
      if (expert >= 0) own_row = p.rows[slot];
      if (own_row >= 0) own_number = own_row - p.row_offsets[expert];
    }
    for (int j = 0; j < min(8, p.top_k - base); ++j) {
      const int from = threadIdx.x % 32 / 8 * 8 + j;
      const int row = __shfl_sync(0xffffffffu, own_row, from), number = __shfl_sync(0xffffffffu, own_number, from);
      if (row >= 0) *reinterpret_cast<uint4*>(p.panels + panel_offset(p.panel_rows, row, number, k)) = v;
    }
  }
}
#endif
