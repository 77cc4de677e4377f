// The epilogue of a tile: scale, bias, activation, one rounding, 16-byte stores.
//
// In the accumulator of mma.m16n8k16, lane l of a warp has rows l / 4 and l / 4 + 8, and columns 2 (l % 4) and 2 (l %
// 4) + 1.
#pragma once
#include <ptx.cuh>

#include "element.cuh"
#include "product.cuh"

namespace yamoe {

template <class Tile>
using Sums = float[Tile::kMmaM][Tile::kMmaN][4];

// Transposes a 4x4 matrix of registers across the 4 lanes of a quad: lane q's value i becomes lane i's value q.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4], int lane) {
  const bool odd = lane & 1;
  const uint32_t x0 = __shfl_xor_sync(0xffffffffu, odd ? v[0] : v[1], 1);
  const uint32_t x1 = __shfl_xor_sync(0xffffffffu, odd ? v[2] : v[3], 1);
  if (odd) {
    v[0] = x0;
    v[2] = x1;
  } else {
    v[1] = x0;
    v[3] = x1;
  }
  const bool upper = lane & 2;
  const uint32_t y0 = __shfl_xor_sync(0xffffffffu, upper ? v[0] : v[2], 2);
  const uint32_t y1 = __shfl_xor_sync(0xffffffffu, upper ? v[1] : v[3], 2);
  if (upper) {
    v[0] = y0;
    v[1] = y1;
  } else {
    v[2] = y0;
    v[3] = y1;
  }
}

// The row of a lane's i-th pairs of sums.
template <class Tile>
__device__ __forceinline__ int row_of(const TilePosition& at, int warp_m, int i) {
  return at.row + warp_m + i / 2 * Tile::kMmaRows + i % 2 * 8 + static_cast<int>(threadIdx.x & 31) / 4;
}

// Multiplies the sums of each row by its scale, if there are scales. This equals scaling the row of A, without rounding
// it. The multiplication is never fused with the addition of the bias, so that its bits are the same in every kernel.
template <class Tile>
__device__ __forceinline__ void scale_rows(Sums<Tile>& sums, const float* scales, const TilePosition& at, int warp_m) {
  if (!scales) return;
#pragma unroll
  for (int i = 0; i < Tile::kMmaM * 2; ++i) {
    const int row = row_of<Tile>(at, warp_m, i);
    const float scale = row < at.row_end ? scales[row] : 1.0f;
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; ++j) {
      float* const s = &sums[i / 2][j][i % 2 * 2];
      s[0] = __fmul_rn(s[0], scale);
      s[1] = __fmul_rn(s[1], scale);
    }
  }
}

// Eight results in order. Register t contains the results 2 t and 2 t + 1 if they are `ordered`, else t and t + 4.
__device__ __forceinline__ uint4 eight_results(const uint32_t (&v)[4], bool ordered) {
  return ordered ? make_uint4(v[0], v[1], v[2], v[3])
                 : make_uint4(__byte_perm(v[0], v[1], 0x5410), __byte_perm(v[2], v[3], 0x5410),
                              __byte_perm(v[0], v[1], 0x7632), __byte_perm(v[2], v[3], 0x7632));
}

// Stores 32 results of a row of `width`, from `column`. Each lane of a quad stores 8 consecutive results. Register t of
// lane q contains the results 8 t + 2 q and 8 t + 2 q + 1 if they are in pairs, else 8 t + q and 8 t + 4 + q.
template <class T>
__device__ __forceinline__ void store_row(T* out, int row, int row_end, int column, int width, uint32_t (&v)[4],
                                          bool pairs) {
  const int lane = threadIdx.x & 31;
  transpose_quad(v, lane);
  const int c = column + (lane & 3) * 8;
  if (row < row_end && c < width) {
    *reinterpret_cast<uint4*>(out + static_cast<size_t>(row) * width + c) = eight_results(v, pairs);
  }
}

// Adds the biases of a warp's columns, if there are biases.
template <class Tile, bool kOutIn, class T>
__device__ __forceinline__ void add_bias(Sums<Tile>& sums, const T* bias, const Columns& columns, int expert,
                                         int first) {
  if (!bias) return;
  bias += static_cast<size_t>(expert) * columns.width;
#pragma unroll
  for (int j = 0; j < Tile::kMmaN; ++j) {
    const int n = first + j * 8 + (threadIdx.x & 3) * 2;
    if (n >= columns.width) continue;
    const float x = widen(bias[source_column<kOutIn>(columns, n)]);
    const float y = widen(bias[source_column<kOutIn>(columns, n + 1)]);
#pragma unroll
    for (int i = 0; i < Tile::kMmaM; ++i) {
      sums[i][j][0] += x;
      sums[i][j][1] += y;
      sums[i][j][2] += x;
      sums[i][j][3] += y;
    }
  }
}

// Applies a function to the sums, 16 rows at a time. The loop is not unrolled, to keep the code small. Registers cannot
// be indexed, so all rows move up by one each time; at the end they are where they were.
template <class Tile, class Function>
__device__ __forceinline__ void for_each_rows(Sums<Tile>& sums, const Function& function) {
#pragma unroll 1
  for (int pass = 0; pass < Tile::kMmaM; ++pass) {
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; ++j) {
      function(sums[0][j]);
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const float first = sums[0][j][c];
#pragma unroll
        for (int i = 1; i < Tile::kMmaM; ++i) sums[i - 1][j][c] = sums[i][j][c];
        sums[Tile::kMmaM - 1][j][c] = first;
      }
    }
  }
}

// out[row][column] = f(scale sum + bias).
template <class Tile, bool kOutIn, class T>
struct StorePlain {
  const Product<T>& p;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m, int warp_n) const {
    scale_rows<Tile>(sums, p.row_scales, at, warp_m);
    add_bias<Tile, kOutIn>(sums, p.bias, p.columns, at.expert, at.column + warp_n);
    if (p.activation.kind != kIdentity) {
      with_fast_activation(p.activation, [&](const auto& f) {
        for_each_rows<Tile>(sums, [&](float(&s)[4]) {
#pragma unroll
          for (int c = 0; c < 4; ++c) s[c] = f(s[c]);
        });
      });
    }
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 4) {
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const s = &sums[i / 2][j + t][i % 2 * 2];
          v[t] = pack2<T>(s[0], s[1]);
        }
        store_row(p.out, row_of<Tile>(at, warp_m, i), at.row_end, at.column + warp_n + j * 8, p.columns.width, v, true);
      }
    }
  }
};

// out[row][column / 2] = f(scale gate + bias) (scale up + bias + shift).
template <class Tile, bool kOutIn, class T>
struct StoreGated {
  const Product<T>& p;

  __device__ __forceinline__ void operator()(Sums<Tile>& sums, const TilePosition& at, int warp_m, int warp_n) const {
    const bool chunks = !kOutIn && p.columns.half;  // gate and up alternate by mma tiles, not by columns
    scale_rows<Tile>(sums, p.row_scales, at, warp_m);
    add_bias<Tile, kOutIn>(sums, p.bias, p.columns, at.expert, at.column + warp_n);
    if (chunks) pair_gates_with_ups(sums);
    // Now s[0] and s[2] are gates, and s[1] and s[3] are their ups. The results replace the gates.
    if (p.activation.kind == kSwish) {
#pragma unroll
      for (int i = 0; i < Tile::kMmaM; ++i) {
#pragma unroll
        for (int j = 0; j < Tile::kMmaN; ++j) {
          float(&s)[4] = sums[i][j];
          s[0] = gated_swish(s[0], s[1], p.activation);
          s[2] = gated_swish(s[2], s[3], p.activation);
        }
      }
    } else {
      with_fast_activation(p.activation, [&](const auto& f) {
        for_each_rows<Tile>(sums, [&](float(&s)[4]) {
          s[0] = f(s[0]) * s[1];
          s[2] = f(s[2]) * s[3];
        });
      });
    }
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 8) {
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          v[t] = pack2<T>(sums[i / 2][j + 2 * t][i % 2 * 2], sums[i / 2][j + 2 * t + 1][i % 2 * 2]);
        }
        const int column = (at.column + warp_n) / 2 + j * 4;
        store_row(p.out, row_of<Tile>(at, warp_m, i), at.row_end, column, p.columns.width / 2, v, chunks);
      }
    }
  }

  // An even mma tile contains two gates, and the next tile their two ups. Afterwards each tile contains a gate and its
  // up.
  static __device__ __forceinline__ void pair_gates_with_ups(Sums<Tile>& sums) {
#pragma unroll
    for (int i = 0; i < Tile::kMmaM; ++i) {
#pragma unroll
      for (int j = 0; j < Tile::kMmaN; j += 2) {
#pragma unroll
        for (int c = 0; c < 4; c += 2) {
          const float gate = sums[i][j][c + 1];
          sums[i][j][c + 1] = sums[i][j + 1][c];
          sums[i][j + 1][c] = gate;
        }
      }
    }
  }
};

}  // namespace yamoe
