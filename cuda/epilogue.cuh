// What happens to a tile's sums on their way out of the registers: bias, activation, one rounding, 16-byte stores.
//
// In mma.m16n8k16's accumulator, lane l of a warp holds row l / 4 (and that plus 8) and columns 2 (l % 4) and the next:
// a gate and its up projection meet in one thread.
#pragma once
#include <ptx.cuh>

#include "element.cuh"
#include "grouped_gemm.cuh"

namespace yamoe {

// Transposes a 4x4 matrix of registers across the 4 lanes of a quad: lane q's value i becomes lane i's value q.
__device__ __forceinline__ void transpose_quad(uint32_t (&v)[4], int lane) {
  const bool odd = lane & 1;
  const uint32_t x0 = __shfl_xor_sync(0xffffffffu, odd ? v[0] : v[1], 1);
  const uint32_t x1 = __shfl_xor_sync(0xffffffffu, odd ? v[2] : v[3], 1);
  if (odd) { v[0] = x0; v[2] = x1; } else { v[1] = x0; v[3] = x1; }
  const bool upper = lane & 2;
  const uint32_t y0 = __shfl_xor_sync(0xffffffffu, upper ? v[0] : v[2], 2);
  const uint32_t y1 = __shfl_xor_sync(0xffffffffu, upper ? v[1] : v[3], 2);
  if (upper) { v[0] = y0; v[1] = y1; } else { v[2] = y0; v[3] = y1; }
}

// Two biases from an even column; zeros where there is none.
template <class T>
__device__ __forceinline__ float2 bias_pair(const T* bias, size_t at, bool inside) {
  if (!bias || !inside) return make_float2(0.0f, 0.0f);
  return unpack2<T>(*reinterpret_cast<const uint32_t*>(bias + at));
}

// out[row][column] = sum + bias.
template <class Tile, class T>
struct StoreLinear {
  const T* bias;  // [experts][width] or null
  T* out;         // [rows][width]
  int width;

  __device__ __forceinline__ void operator()(const float (&sums)[Tile::kMmaM][Tile::kMmaN][4], const TilePosition& at,
                                             int warp_m, int warp_n) const {
    const int lane = threadIdx.x & 31;
    const int quad = lane & 3;
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; j += 4) {
      const int column = at.column + warp_n + j * 8;
      float2 b[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        const int c = column + t * 8 + quad * 2;
        b[t] = bias_pair(bias, static_cast<size_t>(at.expert) * width + c, c < width);
      }
#pragma unroll
      for (int i = 0; i < Tile::kMmaM * 2; ++i) {
        uint32_t v[4];
#pragma unroll
        for (int t = 0; t < 4; ++t) {
          const float* const s = &sums[i / 2][j + t][i % 2 * 2];
          v[t] = pack2<T>(s[0] + b[t].x, s[1] + b[t].y);
        }
        transpose_quad(v, lane);  // now columns quad * 8 and the 7 after it
        const int row = at.row + warp_m + i * 8 + (lane >> 2);
        const int c = column + quad * 8;
        if (row < at.row_end && c < width) {
          *reinterpret_cast<uint4*>(out + static_cast<size_t>(row) * width + c) = make_uint4(v[0], v[1], v[2], v[3]);
        }
      }
    }
  }
};

// gate sigmoid(alpha gate) (up + 1), with gate <= limit and |up| <= limit. NaN stays NaN, as in PyTorch's clamp.
__device__ __forceinline__ float clamped_swiglu(float gate, float up, float alpha, float limit) {
  gate = gate > limit ? limit : gate;
  up = up > limit ? limit : up < -limit ? -limit : up;
  return __fdividef(gate, 1.0f + __expf(-alpha * gate)) * (up + 1.0f);
}

// out[row][column / 2] = swiglu(sum + bias): gate in the even columns, up in the odd ones.
template <class Tile, class T>
struct StoreSwiglu {
  const T* bias;  // [experts][width] or null
  T* out;         // [rows][width / 2]
  int width;
  float alpha, limit;

  __device__ __forceinline__ void operator()(const float (&sums)[Tile::kMmaM][Tile::kMmaN][4], const TilePosition& at,
                                             int warp_m, int warp_n) const {
    const int lane = threadIdx.x & 31;
    const int quad = lane & 3;
    const int column = at.column + warp_n;
    float2 b[8];
#pragma unroll
    for (int t = 0; t < 8; ++t) {
      const int c = column + t * 8 + quad * 2;
      b[t] = bias_pair(bias, static_cast<size_t>(at.expert) * width + c, c < width);
    }
#pragma unroll
    for (int i = 0; i < Tile::kMmaM * 2; ++i) {
      float y[8];
#pragma unroll
      for (int t = 0; t < 8; ++t) {
        const float* const s = &sums[i / 2][t][i % 2 * 2];
        y[t] = clamped_swiglu(s[0] + b[t].x, s[1] + b[t].y, alpha, limit);
      }
      const int row = at.row + warp_m + i * 8 + (lane >> 2);
      store(y, lane, static_cast<size_t>(row) * (width / 2), column / 2, row < at.row_end);
    }
  }

  // Eight mma tiles: lane q of the quad has results q, 4 + q, 8 + q, ... and stores 8 q and the 7 after it.
  __device__ __forceinline__ void store(const float (&y)[8], int lane, size_t row_start, int column, bool live) const {
    uint32_t v[4];
#pragma unroll
    for (int t = 0; t < 4; ++t) v[t] = pack2<T>(y[2 * t], y[2 * t + 1]);
    transpose_quad(v, lane);
    // v[p] came from lane p: result p of the even mma tile below, result p of the odd one above.
    const uint4 packed = make_uint4(__byte_perm(v[0], v[1], 0x5410), __byte_perm(v[2], v[3], 0x5410),
                                    __byte_perm(v[0], v[1], 0x7632), __byte_perm(v[2], v[3], 0x7632));
    const int c = column + (lane & 3) * 8;
    if (live && c < width / 2) *reinterpret_cast<uint4*>(out + row_start + c) = packed;
  }
};

}  // namespace yamoe
