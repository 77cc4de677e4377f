// What happens to a warpgroup's sums on their way out: some columns after the other, so that the registers suffice.
#pragma once
#include "activation.cuh"
#include "epilogue.cuh"
#include "warpgroup_gemm.cuh"

namespace yamoe {

// Of an in-out B whose gates and ups lie apart, so many gates and then their ups alternate in a tile.
constexpr int kApart = 32;

// The biases of the columns that a lane has of kTiles mma tiles: pairs, as they are in memory, to take up few registers.
template <int kTiles, bool kOutIn, class T>
struct Biases {
  uint32_t pairs[kTiles];

  __device__ __forceinline__ Biases(const T* bias, const Columns& columns, int expert, int first) {
    const uint32_t own = static_cast<uint32_t>(expert) * columns.width;  // where those of the expert begin
    const int half = columns.half, apart = !kOutIn && half;
    const int there = !bias ? 0 : apart ? half : columns.width;
    const int lane = (apart ? first / 2 : first) + (threadIdx.x & 3) * 2;
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const int n = lane + (apart ? t % (kApart / 8) : t) * 8;
      pairs[t] = 0;
      if (n >= there) continue;
      if (kOutIn && half) {
        pairs[t] = pack2<T>(widen(bias[own + (n >> 1)]), widen(bias[own + half + (n >> 1)]));
      } else {
        pairs[t] = *reinterpret_cast<const uint32_t*>(bias + own + n + (t < kApart / 8 ? 0 : apart ? half : 0));
      }
    }
  }

  __device__ __forceinline__ float2 of(int t) const { return unpack2<T>(pairs[t]); }
};

// out[row][column] = scale sum + bias.
template <class Tile, bool kOutIn, class T>
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
      keep_order();
      const Biases<4, kOutIn, T> biases(bias, columns, at.expert, at.column + j * 8);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const s = &sums[i / 2][j + t][i % 2 * 2];
          v[t] = pack2<T>(s[0] + biases.of(t).x, s[1] + biases.of(t).y);
        }
        store_row(out, row_of<Tile>(at, warp_m, i), at.row_end, at.column + j * 8, columns.width, v, true);
      }
    }
  }
};

// out[row][column / 2] = gate sigmoid(alpha gate) (up + shift), of gates and ups times the row's scale, plus bias.
template <class Tile, bool kOutIn, class T>
struct WarpgroupStoreGated {
  const T* bias;
  const float* scales;
  T* out;
  Columns columns;
  Activation activation;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    scale_rows<Tile>(sums, scales, at, warp_m);
    if (!kOutIn && columns.half) {
      store<true>(sums, at, warp_m);
    } else {
      store<false>(sums, at, warp_m);
    }
  }

  // Gates and ups alternate by kApart columns where kTogether, else by one.
  template <bool kTogether>
  __device__ __forceinline__ void store(const Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 8) {
      keep_order();
      const Biases<8, kOutIn, T> biases(bias, columns, at.expert, at.column + j * 8);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const int first = kTogether ? t : 2 * t, second = kTogether ? t + kApart / 8 : 2 * t + 1;  // mma tiles
          const float* const x = &sums[i / 2][j + first][i % 2 * 2];
          const float* const y = &sums[i / 2][j + second][i % 2 * 2];
          const float x0 = x[0] + biases.of(first).x, x1 = x[1] + biases.of(first).y;
          const float y0 = y[0] + biases.of(second).x, y1 = y[1] + biases.of(second).y;
          v[t] = pack2<T>(gated_swish(x0, kTogether ? y0 : x1, activation), gated_swish(kTogether ? x1 : y0, y1, activation));
        }
        store_row(out, row_of<Tile>(at, warp_m, i), at.row_end, at.column / 2 + j * 4, columns.width / 2, v, kTogether);
      }
    }
  }
};

}  // namespace yamoe
