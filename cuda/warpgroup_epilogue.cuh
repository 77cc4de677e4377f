// What happens to a warpgroup's sums on their way out: some columns after the other, so that the registers suffice.
#pragma once
#include "activation.cuh"
#include "epilogue.cuh"
#include "warpgroup_gemm.cuh"

namespace yamoe {

// The biases of the columns that a lane has of kTiles mma tiles: pairs, as they are in memory, to take up few registers.
template <int kTiles, bool kOutIn, class T>
struct Biases {
  uint32_t pairs[kTiles];

  __device__ __forceinline__ Biases(const T* bias, const Columns& columns, int expert, int first) {
    const int there = bias ? columns.width : 0;
    const uint32_t own = static_cast<uint32_t>(expert) * there;  // where those of the expert begin
#pragma unroll
    for (int t = 0; t < kTiles; ++t) {
      const int n = first + t * 8 + (threadIdx.x & 3) * 2;
      pairs[t] = 0;
      if (n >= there) continue;
      if (kOutIn && columns.half) {
        pairs[t] = pack2<T>(widen(bias[own + (n >> 1)]), widen(bias[own + columns.half + (n >> 1)]));
      } else {
        pairs[t] = *reinterpret_cast<const uint32_t*>(bias + own + columns.source<kOutIn>(n));
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

// out[row][column / 2] = gate sigmoid(alpha gate) (up + shift), of gates and ups as in epilogue.cuh.
template <class Tile, bool kOutIn, class T>
struct WarpgroupStoreGated {
  const T* bias;
  const float* scales;
  T* out;
  Columns columns;
  Activation activation;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m) const {
    const bool chunks = !kOutIn && columns.half;  // gates and ups alternate by mma tiles, not by columns
    scale_rows<Tile>(sums, scales, at, warp_m);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 8) {
      keep_order();
      const Biases<8, kOutIn, T> biases(bias, columns, at.expert, at.column + j * 8);
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 8; t += 2) {
          const float* const even = &sums[i / 2][j + t][i % 2 * 2];
          const float* const odd = &sums[i / 2][j + t + 1][i % 2 * 2];
          const float gate0 = even[0] + biases.of(t).x, x = even[1] + biases.of(t).y;
          const float y = odd[0] + biases.of(t + 1).x, up1 = odd[1] + biases.of(t + 1).y;
          v[t / 2] = pack2<T>(gated_swish(gate0, chunks ? y : x, activation), gated_swish(chunks ? x : y, up1, activation));
        }
        store_row(out, row_of<Tile>(at, warp_m, i), at.row_end, at.column / 2 + j * 4, columns.width / 2, v, chunks);
      }
    }
  }
};

}  // namespace yamoe
