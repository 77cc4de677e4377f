// The two matrix products without tensor cores, in f32: for f32 operands, which tensor cores would round, for sizes
// that are not multiples of 8, whose rows are not aligned for 16-byte copies, and for bf16 on tensor cores that do not
// support it.
//
// Each block computes every gridDim.x-th tile, in steps of kSimtDepth of the depth. The elements of a step are loaded
// into registers one by one while the step before is multiplied, and then stored as f32 in the other half of shared
// memory. Each sum is one chain of fmaf along the depth, in every tile shape.
#include <ptx.cuh>

#include "element.cuh"
#include "product.cuh"

namespace yamoe {

constexpr int kSimtDepth = 16;

template <int kBM_, int kBN_, int kTM_, int kTN_>
struct SimtTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kTM = kTM_, kTN = kTN_;  // of a block and of a thread
  static constexpr int kColumns = kBN / kTN, kThreads = kBM / kTM * kColumns;
  // A thread's rows and columns are in groups of up to 4, distributed over the tile so that a warp's loads have no bank
  // conflicts.
  static constexpr int kGroupM = kTM < 4 ? kTM : 4, kGroupN = 4;
  static constexpr int kStrideA = kBM + 4, kStrideB = kBN + 4;  // of rows in shared memory, in floats
  static constexpr int kHalf = kSimtDepth * (kStrideA + kStrideB);
  static constexpr int kPassesA = kBM * kSimtDepth / kThreads, kPassesB = kBN * kSimtDepth / kThreads;

  static_assert(kThreads % kSimtDepth == 0 && kThreads % kBN == 0, "a pass must load whole rows");
  static_assert(kGroupM == 2 || kGroupM == 4, "rows are read two or four at a time");
  static_assert(kTM % kGroupM == 0 && kTN % kGroupN == 0, "a thread's part must be whole groups");
  static_assert(kPassesA * kThreads == kBM * kSimtDepth && kPassesB * kThreads == kBN * kSimtDepth,
                "passes must be whole");

  static __device__ __forceinline__ int row(int i) {
    return i / kGroupM * (kBM / (kTM / kGroupM)) + static_cast<int>(threadIdx.x) / kColumns * kGroupM + i % kGroupM;
  }
  static __device__ __forceinline__ int column(int j) {
    return j / kGroupN * (kBN / (kTN / kGroupN)) + static_cast<int>(threadIdx.x) % kColumns * kGroupN + j % kGroupN;
  }
};

// A thread's elements of a step, at equal distances.
struct SimtStrip {
  int k, n;    // of the first: along the depth, and along the rows of A or the columns of B
  int dk, dn;  // from one element to the next
};

template <class Tile, class T>
struct SimtLoader {
  const ProductArguments<T>& p;
  const SimtStrip strip_a, strip_b;
  size_t step_b, pass_b;     // distances in B between steps and between elements
  int left_b;                // number of columns from the first element's to the end
  int rows[Tile::kPassesA];  // of A, or -1
  const T* b;
  float next_a[Tile::kPassesA], next_b[Tile::kPassesB];

  __device__ __forceinline__ SimtLoader(const ProductArguments<T>& arguments)
      : p(arguments), strip_a(along_depth()), strip_b(arguments.out_in ? along_depth() : along_width()) {
    const int columns = p.columns.half ? strip_b.dn / 2 : strip_b.dn;  // gate and up alternate
    step_b = p.out_in ? kSimtDepth : static_cast<size_t>(kSimtDepth) * p.columns.width;
    pass_b = p.out_in ? static_cast<size_t>(columns) * p.depth : static_cast<size_t>(strip_b.dk) * p.columns.width;
  }

  static __device__ __forceinline__ SimtStrip along_depth() {
    const int thread = threadIdx.x;
    return {thread % kSimtDepth, thread / kSimtDepth, 0, Tile::kThreads / kSimtDepth};
  }
  static __device__ __forceinline__ SimtStrip along_width() {
    const int thread = threadIdx.x;
    return {thread / Tile::kBN, thread % Tile::kBN, Tile::kThreads / Tile::kBN, 0};
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int row = at.row + strip_a.n + i * strip_a.dn;
      rows[i] = row >= at.row_end ? -1 : p.row_index ? p.row_index[row] : row;
    }
    const int n = at.column + strip_b.n;
    const size_t column = source_column<true>(p.columns, n);
    const size_t width = p.columns.width;
    left_b = p.columns.width - n;
    b = p.weights + at.expert * width * p.depth +
        (p.out_in ? column * p.depth + strip_b.k : strip_b.k * width + column);
  }

  // Loads the step that begins at depth k. Missing elements become zeros.
  __device__ __forceinline__ void load(int k) {
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const bool exists = rows[i] >= 0 && k + strip_a.k < p.depth;
      next_a[i] = exists ? widen(p.input[static_cast<size_t>(rows[i]) * p.depth + k + strip_a.k]) : 0.0f;
    }
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      const bool exists = i * strip_b.dn < left_b && k + strip_b.k + i * strip_b.dk < p.depth;
      next_b[i] = exists ? widen(b[i * pass_b]) : 0.0f;
    }
    b += step_b;
  }

  __device__ __forceinline__ void store(float* half) const {
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) half[strip_a.k * Tile::kStrideA + strip_a.n + i * strip_a.dn] = next_a[i];
    float* const part = half + kSimtDepth * Tile::kStrideA;
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      part[(strip_b.k + i * strip_b.dk) * Tile::kStrideB + strip_b.n + i * strip_b.dn] = next_b[i];
    }
  }
};

// Reads kCount floats in groups of kGroup; the groups have a distance of `distance` floats.
template <int kGroup, int kCount>
__device__ __forceinline__ void read_groups(float (&to)[kCount], const float* from, int distance) {
#pragma unroll
  for (int i = 0; i < kCount; i += kGroup) {
    if constexpr (kGroup == 4) {
      const float4 v = *reinterpret_cast<const float4*>(from + i / kGroup * distance);
      to[i] = v.x, to[i + 1] = v.y, to[i + 2] = v.z, to[i + 3] = v.w;
    } else {
      const float2 v = *reinterpret_cast<const float2*>(from + i / kGroup * distance);
      to[i] = v.x, to[i + 1] = v.y;
    }
  }
}

// Stores one row of a thread's sums.
template <class Tile, class T>
__device__ __forceinline__ void simt_store(const float (&sums)[Tile::kTN], float scale, int row, const TilePosition& at,
                                           const ProductArguments<T>& p) {
  const Columns& columns = p.columns;
  const T* const bias = p.bias ? p.bias + static_cast<size_t>(at.expert) * columns.width : nullptr;
#pragma unroll
  for (int j = 0; j < Tile::kTN; j += 2) {
    const int n = at.column + Tile::column(j);
    float x[2];
#pragma unroll
    for (int c = 0; c < 2; ++c) {
      const float b = bias && n + c < columns.width ? widen(bias[source_column<true>(columns, n + c)]) : 0.0f;
      x[c] = fmaf(scale, sums[j + c], b);
    }
    if (p.gated) {
      const float gate = clamp_gate(x[0], p.activation.limit);
      const float up = clamp_up(x[1], p.activation.limit) + p.activation.shift;
      if (n < columns.width) {
        p.out[static_cast<size_t>(row) * (columns.width / 2) + n / 2] =
            narrow<T>(exact_activation(gate, p.activation) * up);
      }
    } else {
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        if (n + c < columns.width) {
          p.out[static_cast<size_t>(row) * columns.width + n + c] = narrow<T>(exact_activation(x[c], p.activation));
        }
      }
    }
  }
}

template <class Tile, class T>
__device__ __forceinline__ void simt(const ProductArguments<T>& p) {
  float* const shared = reinterpret_cast<float*>(dynamic_smem());
  const int count = tile_count<Tile>(p);
  SimtLoader<Tile, T> loader(p);
  int half = 0;
  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    const TilePosition at = locate<Tile>(p, index);
    loader.aim(at);
    loader.load(0);
    float sums[Tile::kTM][Tile::kTN] = {};
    for (int k = 0; k < p.depth; k += kSimtDepth) {
      float* const part = shared + half * Tile::kHalf;
      half ^= 1;
      loader.store(part);
      __syncthreads();  // the step is complete, and all have read the one before, which the next store overwrites
      loader.load(k + kSimtDepth);
#pragma unroll 2
      for (int kk = 0; kk < kSimtDepth; ++kk) {
        float a[Tile::kTM], b[Tile::kTN];
        read_groups<Tile::kGroupM>(a, part + kk * Tile::kStrideA + Tile::row(0),
                                   Tile::row(Tile::kGroupM) - Tile::row(0));
        read_groups<Tile::kGroupN>(b, part + kSimtDepth * Tile::kStrideA + kk * Tile::kStrideB + Tile::column(0),
                                   Tile::column(Tile::kGroupN) - Tile::column(0));
#pragma unroll
        for (int i = 0; i < Tile::kTM; ++i) {
#pragma unroll
          for (int j = 0; j < Tile::kTN; ++j) sums[i][j] = fmaf(a[i], b[j], sums[i][j]);
        }
      }
    }
    // The loop stores a row at a time. Registers cannot be indexed, so the rows move up.
#pragma unroll 1
    for (int i = 0; i < Tile::kTM; ++i) {
      const int row = at.row + Tile::row(i);
      if (row < at.row_end) {
        const float scale = p.row_scales ? p.row_scales[row] : 1.0f;
        simt_store<Tile>(sums[0], scale, row, at, p);
      }
#pragma unroll
      for (int r = 1; r < Tile::kTM; ++r) {
#pragma unroll
        for (int j = 0; j < Tile::kTN; ++j) sums[r - 1][j] = sums[r][j];
      }
    }
  }
}

//                              rows cols thread
using Simt128 = SimtTile<128, 64, 8, 4>;
using Simt16 = SimtTile<16, 64, 2, 4>;

}  // namespace yamoe

#define YAMOE_SIMT(tile, suffix, T, blocks)                                   \
  extern "C" __global__ void __launch_bounds__(yamoe::tile::kThreads, blocks) \
      simt_##suffix(const yamoe::ProductArguments<T> arguments) {             \
    yamoe::simt<yamoe::tile>(arguments);                                      \
  }

YAMOE_SIMT(Simt128, 128_f32, float, 2)
YAMOE_SIMT(Simt16, 16_f32, float, 8)
YAMOE_SIMT(Simt128, 128_f16, __half, 2)
YAMOE_SIMT(Simt16, 16_f16, __half, 8)
YAMOE_SIMT(Simt128, 128_bf16, __nv_bfloat16, 2)
YAMOE_SIMT(Simt16, 16_bf16, __nv_bfloat16, 8)
