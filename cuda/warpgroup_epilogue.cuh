// The epilogue of a warpgroup's sums. It processes some columns at a time, to need fewer registers.
#pragma once
#include "epilogue.cuh"
#include "warpgroup_gemm.cuh"

namespace yamoe {

// With kInOutSplit, a tile alternates between this many gate columns and their up columns.
constexpr int kGateRun = 32;

// Adds the biases of 32 columns, from `first`, to the sums of four mma tiles, from j.
template <class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void add_biases(Sums<Tile>& sums, int j, const T* bias, const Columns& columns, int expert,
                                           int first) {
  keep_order();
  constexpr bool kSplit = kLayout == WeightLayout::kInOutSplit;
  const int half = columns.half;
  const int count = !bias ? 0 : kSplit ? half : columns.width;
  const uint32_t own = static_cast<uint32_t>(expert) * columns.width;  // the expert's first bias
  const int begin = (kSplit ? first / (2 * kGateRun) * kGateRun : first) + (threadIdx.x & 3) * 2;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const int n = begin + t * 8;
    float2 pair = {0.0f, 0.0f};
    if (n < count) {
      if (kLayout == WeightLayout::kOutIn && half) {
        pair = {widen(bias[own + n / 2]), widen(bias[own + half + n / 2])};
      } else {
        pair = unpack2<T>(*reinterpret_cast<const uint32_t*>(bias + own + n + (kSplit && first & kGateRun ? half : 0)));
      }
    }
#pragma unroll
    for (int i = 0; i < Tile::kMmaM; ++i) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[i][j + t][c] += c % 2 ? pair.y : pair.x;
    }
  }
}

// out[row][column] = scale sum + bias.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupStorePlain {
  const Product<T>& p;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    scale_rows<Tile>(sums, p.row_scales, at, warp_m);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 4) {
      add_biases<Tile, kLayout>(sums, j, p.bias, p.columns, at.expert, at.column + j * 8);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const s = &sums[i / 2][j + t][i % 2 * 2];
          v[t] = pack2<T>(s[0], s[1]);
        }
        store_row(p.out, row_of<Tile>(at, warp_m, i), at.row_end, at.column + j * 8, p.columns.width, v, true);
      }
    }
  }
};

// out[row][column / 2] = gate sigmoid(alpha gate) (up + shift). Gate and up are scaled sums plus bias.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupStoreGated {
  const Product<T>& p;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    constexpr bool kSplit = kLayout == WeightLayout::kInOutSplit;
    scale_rows<Tile>(sums, p.row_scales, at, warp_m);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 8) {
      add_biases<Tile, kLayout>(sums, j, p.bias, p.columns, at.expert, at.column + j * 8);
      add_biases<Tile, kLayout>(sums, j + 4, p.bias, p.columns, at.expert, at.column + j * 8 + 32);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const x = &sums[i / 2][j + (kSplit ? t : 2 * t)][i % 2 * 2];
          const float* const y = &sums[i / 2][j + (kSplit ? t + kGateRun / 8 : 2 * t + 1)][i % 2 * 2];
          v[t] = kSplit ? pack2<T>(gated_swish(x[0], y[0], p.activation), gated_swish(x[1], y[1], p.activation))
                        : pack2<T>(gated_swish(x[0], x[1], p.activation), gated_swish(y[0], y[1], p.activation));
        }
        store_row(p.out, row_of<Tile>(at, warp_m, i), at.row_end, at.column / 2 + j * 4, p.columns.width / 2, v,
                  kSplit);
      }
    }
  }
};

}  // namespace yamoe
