// The kernel that gathers the hidden states into panels, for Hopper: see packed_gemm.cuh. Each hidden state is loaded once
// and stored in all its rows, because loading it again for each row takes as long as storing it: see cuda/LADDER.md.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_panels.cuh"

namespace yamoe {

constexpr int kPanelThreads = 256;
constexpr int kPanelParts = 4;  // loads of 16 bytes at once

struct GatherPanelsArguments {
  const unsigned char* input;  // [tokens][depth], 16-bit elements
  const int* indices;          // [tokens][top_k]: the expert of each slot
  const int* rows;             // [tokens][top_k]: the row of each slot, or -1
  const int* row_offsets;      // [experts + 1]: the first row of each expert
  unsigned char* panels;       // out: the gathered rows
  unsigned char* activations;  // out: panels of `intermediate` columns; the last one becomes zeros if it is not full
  int tokens, top_k, depth, intermediate;
  int panel_rows;
  int warps;  // per token
};

}  // namespace yamoe

// The warps of a token divide its columns in parts of 256, eight for each lane. A warp copies kPanelParts of them in a step.
extern "C" __global__ void __launch_bounds__(yamoe::kPanelThreads) gather_panels(
    const yamoe::GatherPanelsArguments p) {
  using namespace yamoe;
  follow_previous_kernel();
  const unsigned threads = gridDim.x * kPanelThreads, thread = blockIdx.x * kPanelThreads + threadIdx.x;
  if (p.intermediate % 64) {
    unsigned char* const last = p.activations + static_cast<size_t>(p.intermediate / 64) * p.panel_rows * 128;
    for (unsigned i = thread; i < p.panel_rows * 8u; i += threads) reinterpret_cast<uint4*>(last)[i] = make_uint4(0, 0, 0, 0);
  }

  const int lane = threadIdx.x % 32;
  const int t = static_cast<int>(thread / 32 / p.warps), warp_of_token = static_cast<int>(thread / 32 % p.warps);
  if (t >= p.tokens) return;
  const unsigned char* const from = p.input + static_cast<size_t>(t) * p.depth * 2;
  const size_t slot = static_cast<size_t>(t) * p.top_k;
  const int columns = ceil_div(p.depth, 64) * 64;  // the missing ones of the last panel are zeros
  const int stride = p.warps * 256;
  for (int first = warp_of_token * 256; first < columns; first += kPanelParts * stride) {
    const int begin = first + lane * 8;
    uint4 v[kPanelParts];
#pragma unroll
    for (int part = 0; part < kPanelParts; ++part) {
      const int k = begin + part * stride;
      v[part] = k < p.depth ? *reinterpret_cast<const uint4*>(from + k * 2) : make_uint4(0, 0, 0, 0);
    }
    for (int base = 0; base < p.top_k; base += 32) {
      int own_row = -1, own_number = 0;  // of the lane's slot; the number in its expert
      if (base + lane < p.top_k) own_row = p.rows[slot + base + lane];
      if (own_row >= 0) own_number = own_row - p.row_offsets[p.indices[slot + base + lane]];
      for (unsigned rest = __ballot_sync(0xffffffffu, own_row >= 0); rest; rest &= rest - 1) {
        const int row = __shfl_sync(0xffffffffu, own_row, __ffs(rest) - 1);
        const int number = __shfl_sync(0xffffffffu, own_number, __ffs(rest) - 1);
#pragma unroll
        for (int part = 0; part < kPanelParts; ++part) {
          const int k = begin + part * stride;
          if (k < columns) *reinterpret_cast<uint4*>(p.panels + panel_offset(p.panel_rows, row, number, k)) = v[part];
        }
      }
    }
  }
}
#endif
