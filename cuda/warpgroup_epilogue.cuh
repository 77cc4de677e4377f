// What happens to a warpgroup's sums on their way out: some columns after the other, so that the registers suffice.
#pragma once
#include "activation.cuh"
#include "epilogue.cuh"
#include "warpgroup_gemm.cuh"

namespace yamoe {

// Of kInOutApart, so many gates and then their ups alternate in a tile.
constexpr int kTogether = 32;

// Adds the biases of 32 columns, from `first` on, to the sums of the four mma tiles from j on.
template <class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void add_biases(Sums<Tile>& sums, int j, const T* bias, const Columns& columns, int expert,
                                           int first) {
  keep_order();
  constexpr bool kApart = kLayout == WeightLayout::kInOutApart;
  const int half = columns.half;
  const int there = !bias ? 0 : kApart ? half : columns.width;
  const uint32_t own = static_cast<uint32_t>(expert) * columns.width;  // where those of the expert begin
  const int begin = (kApart ? first / (2 * kTogether) * kTogether : first) + (threadIdx.x & 3) * 2;
#pragma unroll
  for (int t = 0; t < 4; ++t) {
    const int n = begin + t * 8;
    float2 pair = {0.0f, 0.0f};
    if (n < there) {
      if (kLayout == WeightLayout::kOutIn && half) {
        pair = {widen(bias[own + n / 2]), widen(bias[own + half + n / 2])};
      } else {
        pair =
            unpack2<T>(*reinterpret_cast<const uint32_t*>(bias + own + n + (kApart && first & kTogether ? half : 0)));
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
  const T* bias;
  const float* scales;
  T* out;
  Columns columns;
  Activation activation;  // none

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    scale_rows<Tile>(sums, scales, at, warp_m);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 4) {
      add_biases<Tile, kLayout>(sums, j, bias, columns, at.expert, at.column + j * 8);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const s = &sums[i / 2][j + t][i % 2 * 2];
          v[t] = pack2<T>(s[0], s[1]);
        }
        store_row(out, row_of<Tile>(at, warp_m, i), at.row_end, at.column + j * 8, columns.width, v, true);
      }
    }
  }
};

// out[row][column / 2] = gate sigmoid(alpha gate) (up + shift), of gates and ups times the row's scale, plus bias.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupStoreGated {
  const T* bias;
  const float* scales;
  T* out;
  Columns columns;
  Activation activation;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    constexpr bool kApart = kLayout == WeightLayout::kInOutApart;
    scale_rows<Tile>(sums, scales, at, warp_m);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 8) {
      add_biases<Tile, kLayout>(sums, j, bias, columns, at.expert, at.column + j * 8);
      add_biases<Tile, kLayout>(sums, j + 4, bias, columns, at.expert, at.column + j * 8 + 32);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const x = &sums[i / 2][j + (kApart ? t : 2 * t)][i % 2 * 2];
          const float* const y = &sums[i / 2][j + (kApart ? t + kTogether / 8 : 2 * t + 1)][i % 2 * 2];
          v[t] = kApart ? pack2<T>(gated_swish(x[0], y[0], activation), gated_swish(x[1], y[1], activation))
                        : pack2<T>(gated_swish(x[0], x[1], activation), gated_swish(y[0], y[1], activation));
        }
        store_row(out, row_of<Tile>(at, warp_m, i), at.row_end, at.column / 2 + j * 4, columns.width / 2, v, kApart);
      }
    }
  }
};

}  // namespace yamoe
