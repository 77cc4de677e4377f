// The epilogue of a consumer's sums: scale, bias, activation, one rounding, 16-byte stores. The operations on a sum are those
// of epilogue.cuh.
#pragma once
#include "epilogue.cuh"
#include "warpgroup_gemm.cuh"

namespace yamoe {

// Stores the results of two groups of 8 columns, from `column` and from `column + distance`. values(j, x) computes those of a
// tile of 8 rows: x[0] and x[1] are in the first group, in both rows of the lane. A lane has the column l / 4 of a group,
// or, if they are not in order, l / 8 or l / 8 + 4.
template <class Tile, bool kOrdered, class T, class Values>
__device__ __forceinline__ void store_groups(T* out, const TilePosition& at, int column, int distance, int width,
                                             const Values& values) {
  const int lane = threadIdx.x % 32, rows = at.row_end - at.row;
  const int row = lane % 4 / 2 * 8 + lane / 4;
  if (lane & 1) column += distance;
  T* to = out + static_cast<size_t>(at.row + row) * width + column;
#pragma unroll
  for (int j = 0; j < Tile::kBM / 8; j += 2) {
    if (j * 8 >= rows) break;
    keep_order();
    uint32_t v[4];
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      float x[4];
      values(j + t, x);
      v[2 * t] = transpose_8x8(pack2<T>(x[0], x[1]));
      v[2 * t + 1] = transpose_8x8(pack2<T>(x[2], x[3]));
    }
    transpose_quad(v, lane);
    if (j * 8 + row < rows && column < width) *reinterpret_cast<uint4*>(to) = eight_results(v, kOrdered);
    to += static_cast<size_t>(16) * width;
  }
}

// The scales of the lane's two rows of a tile of 8.
template <class T>
__device__ __forceinline__ float2 scales_of(const Product<T>& p, const TilePosition& at, int j) {
  if (!p.row_scales) return {1.0f, 1.0f};
  const int row = at.row + j * 8 + static_cast<int>(threadIdx.x) % 4 * 2;
  return {row < at.row_end ? p.row_scales[row] : 1.0f, row + 1 < at.row_end ? p.row_scales[row + 1] : 1.0f};
}

// out[row][column] = scale sum + bias.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupStorePlain {
  const Product<T>& p;

  __device__ __forceinline__ void operator()(StripSums<Tile>& sums, const TilePosition& at, int first) const {
    const int width = p.columns.width;
#pragma unroll
    for (int i = 0; i < Tile::kStrips; ++i) {
      const int column = first + i * Tile::kStripColumns;
      float bias[2] = {};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int n = column + h * 8 + static_cast<int>(threadIdx.x) % 32 / 4;
        if (p.bias && n < width) bias[h] = widen(p.bias[static_cast<size_t>(at.expert) * width + n]);
      }
      store_groups<Tile, true>(p.out, at, column, 8, width, [&](int j, float(&x)[4]) {
        const float2 scale = scales_of(p, at, j);
#pragma unroll
        for (int c = 0; c < 4; ++c) x[c] = __fmul_rn(sums[i][j][c], c % 2 ? scale.y : scale.x) + bias[c / 2];
      });
    }
  }
};

// out[row][column / 2] = gate sigmoid(alpha gate) (up + shift). Gate and up are scaled sums plus bias.
template <class Tile, WeightLayout kLayout, class T>
struct WarpgroupStoreGated {
  static constexpr bool kPairs = WeightBoxes<Tile, kLayout, true>::kPairs;
  const Product<T>& p;

  __device__ __forceinline__ void operator()(StripSums<Tile>& sums, const TilePosition& at, int first) const {
    const int lane = threadIdx.x % 32, half = p.columns.width / 2;
    const bool odd = lane & 4;
    // Of alternating columns, the lane has the gate and the up value of one number in each strip, after an exchange.
    constexpr int kDistance = kPairs ? 8 : Tile::kStripColumns / 2;
    const int column = kPairs ? first : first / 2;
    float gate_bias[2] = {}, up_bias[2] = {};
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const int n = column + h * kDistance + (kPairs ? lane / 4 : lane / 8 + odd * 4);
      if (p.bias && n < half) {
        const T* const own = p.bias + static_cast<size_t>(at.expert) * p.columns.width;
        gate_bias[h] = widen(own[p.columns.half ? n : 2 * n]);
        up_bias[h] = widen(own[p.columns.half ? half + n : 2 * n + 1]);
      }
    }
    store_groups<Tile, kPairs>(p.out, at, column, kDistance, half, [&](int j, float(&x)[4]) {
      const float2 scale = scales_of(p, at, j);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        float gate, up;
        if constexpr (kPairs) {
          gate = sums[0][j][c];
          up = sums[1][j][c];
        } else {
          // Lanes with an even column number have gates, and their neighbours the ups. Each sends half of its sums.
          const float(&s)[4] = sums[c / 2][j];
          const float low = s[c % 2], high = s[c % 2 + 2];
          const float other = __shfl_xor_sync(0xffffffffu, odd ? low : high, 4);
          gate = odd ? other : low;
          up = odd ? high : other;
        }
        gate = __fmul_rn(gate, c % 2 ? scale.y : scale.x) + gate_bias[c / 2];
        up = __fmul_rn(up, c % 2 ? scale.y : scale.x) + up_bias[c / 2];
        x[c] = gated_swish(gate, up, p.activation);
      }
    });
  }
};

}  // namespace yamoe
