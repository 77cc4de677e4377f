// The kernels that prepare the operands of the packed products, for Hopper: they lay weights out in blocks, at upload, and
// gather the hidden states into panels, in each call. packed_format.cuh and packed_gemm.cuh describe both layouts.
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
#include "packed_e2m1.cuh"
#include "packed_panels.cuh"

namespace yamoe {

struct Mxfp4BlocksArguments {
  const unsigned char* values;  // [experts][width][depth / 2], the first of two values in the low bits
  const unsigned char* scales;  // [experts][width][depth / 32]
  unsigned char* blocks;
  int width, depth;
  int half;  // 0, or the distance of a gate row and its up row, which become rows 2 n and 2 n + 1
};

constexpr int kPanelThreads = 256;
constexpr int kPanelRows = kPanelThreads / 8;  // of a block: eight threads copy the 128 bytes of a row
constexpr int kPanelsPerBlock = 9;

struct GatherPanelsArguments {
  const unsigned char* input;  // [tokens][depth], 16-bit elements
  const int* row_tokens;       // [rows]: the token of each row
  const int* row_offsets;      // [experts + 1]: the first row of each expert
  unsigned char* panels;       // out: the gathered rows
  unsigned char* activations;  // out: panels of `intermediate` columns; the last one becomes zeros if it is not full
  int* finished;               // out: `finished_count` zeros
  int finished_count, experts, depth, intermediate;
  int rows;  // of a panel
};

struct Mxfp4Decoder {
  using Format = Mxfp4<__nv_bfloat16>;

  static __device__ __forceinline__ float value(const unsigned char* block, const DecodeArguments&, int thread, int c,
                                                int r, int half) {
    const int scale = block[Format::kValueBytes + thread / 4 * 4 + c / 2 * 2 + r % 2];
    return ldexpf(e2m1_of<Format>(block, thread, c, r, half), scale - 127);
  }
};

}  // namespace yamoe

// A block of 128 threads for each block of weights.
extern "C" __global__ void __launch_bounds__(128) mxfp4_blocks(const yamoe::Mxfp4BlocksArguments p) {
  using namespace yamoe;
  using Format = Mxfp4<__nv_bfloat16>;
  wait_for_previous_kernel();
  allow_next_kernel();
  const BlockPosition at = block_position(blockIdx.x, p.width, p.depth);
  unsigned char* const block = p.blocks + static_cast<size_t>(blockIdx.x) * Format::kBlockBytes;
  lay_out_e2m1<Format>(block, p.values, at, p.width, p.depth, p.half);
  const int thread = threadIdx.x;
  if (thread >= kBlockRows / 2) return;
  uint32_t scales = 0;  // of two rows and two groups of columns
  for (int i = 0; i < 4; ++i) {
    const int row = at.strip * kBlockRows + thread * 2 + i % 2, group = at.step * 2 + i / 2;
    if (row >= p.width || group >= p.depth / 32) continue;
    const size_t source = static_cast<size_t>(at.expert) * p.width + source_row(row, p.half);
    scales |= static_cast<uint32_t>(p.scales[source * (p.depth / 32) + group]) << i * 8;
  }
  reinterpret_cast<uint32_t*>(block + Format::kValueBytes)[thread] = scales;
}

// Writes the weights as a dense tensor. The same grid.
extern "C" __global__ void __launch_bounds__(128) mxfp4_decode(const yamoe::DecodeArguments arguments) {
  yamoe::wait_for_previous_kernel();
  yamoe::allow_next_kernel();
  yamoe::decode_blocks<yamoe::Mxfp4Decoder>(arguments);
}

// Eight threads for each row, kPanelRows rows and kPanelsPerBlock panels for each block.
extern "C" __global__ void __launch_bounds__(yamoe::kPanelThreads) gather_panels(
    const yamoe::GatherPanelsArguments p) {
  using namespace yamoe;
  wait_for_previous_kernel();
  allow_next_kernel();
  const int threads = gridDim.x * kPanelThreads, thread = blockIdx.x * kPanelThreads + threadIdx.x;
  for (int i = thread; i < p.finished_count; i += threads) p.finished[i] = 0;
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
