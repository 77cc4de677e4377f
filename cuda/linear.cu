// The router's linear layer, for few columns: out[t][n] = input[t] . weight[n] + bias[n], summed in f32. It is bound by
// reading the input, once for each kColumns columns; with few tokens, by reading the weight.
//
// The order of an element's sum depends only on the depth, so a token's logits do not depend on the batch.
#include <ptx.cuh>

#include "dtype.cuh"

namespace yamoe {

constexpr int kLinearThreads = 256;
constexpr int kLinearWarps = kLinearThreads / 32;

struct LinearArguments {
  const void* input;                         // [tokens][depth]
  const void* weight;                        // [columns][depth]
  const void* bias;                          // [columns], of the weight's dtype, or null
  void* out;                                 // [tokens][columns]
  int input_dtype, weight_dtype, out_dtype;  // DType
  int tokens, columns, depth;
  int small_tiles;  // 0 or 1; read only on tensor cores
};

// On tensor cores, a block computes kTokens x kColumns elements. Its warps divide the depth, 32 at a time, and add
// their sums one after the other. mma.m16n8k16 may sum over the depth in any order, if the order is the same in both
// operands: lane q of a quad loads the 8 elements from 8 q of every 32 with one 16-byte load, and uses them in two
// mmas. The operands do not need shared memory. Each warp loads kSteps of its parts of the depth before it uses them.
template <int kTokens_, int kColumns_, int kSteps_>
struct LinearTile {
  static constexpr int kTokens = kTokens_, kColumns = kColumns_, kSteps = kSteps_;
};
using LargeLinearTile = LinearTile<32, 64, 1>;
using SmallLinearTile = LinearTile<16, 8, 8>;  // for few tokens: many blocks, which wait for memory only once or twice

// Loads 16 bytes, or returns zeros if they do not exist.
template <class T>
__device__ __forceinline__ uint4 load_or_zeros(const T* from, bool exists) {
  return exists ? *reinterpret_cast<const uint4*>(from) : make_uint4(0, 0, 0, 0);
}

template <class Tile, class T>
__device__ __forceinline__ void linear_mma(const LinearArguments& p, const T* __restrict__ x, const T* __restrict__ w,
                                           const T* __restrict__ bias) {
  constexpr int kTokens = Tile::kTokens, kColumns = Tile::kColumns, kSteps = Tile::kSteps;
  constexpr int kStep = kLinearWarps * 32;
  float(*const total)[kColumns] = reinterpret_cast<float(*)[kColumns]>(dynamic_smem());  // [kTokens][kColumns]
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  const int row = lane >> 2;
  const int quad = lane & 3;
  const int column_blocks = (p.columns + kColumns - 1) / kColumns;
  const int token = static_cast<int>(blockIdx.x) / column_blocks * kTokens;
  const int column = static_cast<int>(blockIdx.x) % column_blocks * kColumns;

  float sums[kTokens / 16][kColumns / 8][4] = {};
  for (int base = warp * 32; base < p.depth; base += kSteps * kStep) {
    uint4 a[kSteps][kTokens / 8], b[kSteps][kColumns / 8];
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
      const int k = base + s * kStep + quad * 8;
      const bool inside = k < p.depth;  // the depth is a multiple of 8
#pragma unroll
      for (int i = 0; i < kTokens / 8; ++i) {
        const int t = token + i * 8 + row;
        a[s][i] = load_or_zeros(x + static_cast<size_t>(t) * p.depth + k, inside && t < p.tokens);
      }
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) {
        const int n = column + j * 8 + row;
        b[s][j] = load_or_zeros(w + static_cast<size_t>(n) * p.depth + k, inside && n < p.columns);
      }
    }
#pragma unroll
    for (int s = 0; s < kSteps; ++s) {
#pragma unroll
      for (int j = 0; j < kColumns / 8; ++j) {
        const uint32_t b0[2] = {b[s][j].x, b[s][j].y};
        const uint32_t b1[2] = {b[s][j].z, b[s][j].w};
#pragma unroll
        for (int i = 0; i < kTokens / 16; ++i) {
          const uint4 &top = a[s][2 * i], &bottom = a[s][2 * i + 1];
          const uint32_t a0[4] = {top.x, bottom.x, top.y, bottom.y};
          const uint32_t a1[4] = {top.z, bottom.z, top.w, bottom.w};
          mma_m16n8k16<T>(sums[i][j], a0, b0);
          mma_m16n8k16<T>(sums[i][j], a1, b1);
        }
      }
    }
  }

  for (int turn = 0; turn < kLinearWarps; ++turn) {
    if (turn == warp) {
#pragma unroll
      for (int i = 0; i < kTokens / 16; ++i) {
#pragma unroll
        for (int j = 0; j < kColumns / 8; ++j) {
#pragma unroll
          for (int c = 0; c < 4; ++c) {
            float& sum = total[i * 16 + c / 2 * 8 + row][j * 8 + quad * 2 + c % 2];
            sum = turn == 0 ? sums[i][j][c] : sum + sums[i][j][c];
          }
        }
      }
    }
    __syncthreads();
  }
  for (int i = threadIdx.x; i < kTokens * kColumns; i += kLinearThreads) {
    const int t = token + i / kColumns;
    const int n = column + i % kColumns;
    if (t >= p.tokens || n >= p.columns) continue;
    const float b = bias ? static_cast<float>(bias[n]) : 0.0f;
    store_as(p.out, static_cast<size_t>(t) * p.columns + n, total[i / kColumns][i % kColumns] + b, p.out_dtype);
  }
}

// Without tensor cores, for f32, mixed dtypes, depths that are not a multiple of 8, and bf16 before sm_80. A block
// computes 32 x 32 elements, and each thread one column of four rows.
constexpr int kSide = 32;

struct LinearSmem {
  float x[kSide][kSide];
  float w[kSide][kSide + 1];  // read along columns
};

__device__ __forceinline__ void linear_any(const LinearArguments& p) {
  LinearSmem& tile = *reinterpret_cast<LinearSmem*>(dynamic_smem());
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  const int column_blocks = (p.columns + kSide - 1) / kSide;
  const int token = static_cast<int>(blockIdx.x) / column_blocks * kSide;
  const int column = static_cast<int>(blockIdx.x) % column_blocks * kSide;

  float sums[4] = {};
  for (int base = 0; base < p.depth; base += kSide) {
    const int k = base + lane;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int r = warp * 4 + i;
      const int t = token + r;
      const int n = column + r;
      tile.x[r][lane] =
          t < p.tokens && k < p.depth ? load_as(p.input, static_cast<size_t>(t) * p.depth + k, p.input_dtype) : 0.0f;
      tile.w[r][lane] =
          n < p.columns && k < p.depth ? load_as(p.weight, static_cast<size_t>(n) * p.depth + k, p.weight_dtype) : 0.0f;
    }
    __syncthreads();
#pragma unroll 4
    for (int i = 0; i < kSide; ++i) {
      const float b = tile.w[lane][i];
#pragma unroll
      for (int r = 0; r < 4; ++r) sums[r] = fmaf(tile.x[warp * 4 + r][i], b, sums[r]);
    }
    __syncthreads();
  }
  const int n = column + lane;
  if (n >= p.columns) return;
  const float b = p.bias ? load_as(p.bias, n, p.weight_dtype) : 0.0f;
#pragma unroll
  for (int r = 0; r < 4; ++r) {
    const int t = token + warp * 4 + r;
    if (t < p.tokens) store_as(p.out, static_cast<size_t>(t) * p.columns + n, sums[r] + b, p.out_dtype);
  }
}

template <class T>
__device__ __forceinline__ void linear(const LinearArguments& p) {
  follow_previous_kernel();
  const T* const input = static_cast<const T*>(p.input);
  const T* const weight = static_cast<const T*>(p.weight);
  const T* const bias = static_cast<const T*>(p.bias);
  if (p.small_tiles) {
    linear_mma<SmallLinearTile>(p, input, weight, bias);
  } else {
    linear_mma<LargeLinearTile>(p, input, weight, bias);
  }
}

}  // namespace yamoe

#define YAMOE_LINEAR(suffix, T)                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::kLinearThreads) \
      linear_##suffix(const yamoe::LinearArguments arguments) {       \
    yamoe::linear<T>(arguments);                                      \
  }

YAMOE_LINEAR(f16, __half)
#if __CUDA_ARCH__ >= 800
YAMOE_LINEAR(bf16, __nv_bfloat16)
#endif

extern "C" __global__ void __launch_bounds__(yamoe::kLinearThreads, 4)
    linear_any(const yamoe::LinearArguments arguments) {
  yamoe::follow_previous_kernel();
  yamoe::linear_any(arguments);
}
