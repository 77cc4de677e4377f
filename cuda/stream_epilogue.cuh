// The epilogue of the streaming kernel, whose sums have the columns of a product as rows and the rows as columns: lane l
// of a warp has columns l / 4 and l / 4 + 8 of its 16, and rows 2 (l % 4) and 2 (l % 4) + 1 of every 8.
#pragma once
#include "element.cuh"
#include "stream_gemm.cuh"

namespace yamoe {

// Exchanges sums between lanes so that s[0] and s[1] belong to column 2 n of the warp's columns, and s[2] and s[3] to
// column 2 n + 1: a gate and its up column, if the product is gated.
template <WeightLayout kLayout>
__device__ __forceinline__ void pair_columns(float (&s)[4]) {
  const int lane = threadIdx.x & 31;
  if constexpr (kLayout == WeightLayout::kOutIn) {
    if (lane >= 16) {  // see WeightReader
      const float first[2] = {s[2], s[3]};
      s[2] = s[0];
      s[3] = s[1];
      s[0] = first[0];
      s[1] = first[1];
    }
  } else if constexpr (kLayout == WeightLayout::kInOut) {
    const bool odd = lane & 4;
    const float x = __shfl_xor_sync(0xffffffffu, odd ? s[0] : s[2], 4);
    const float y = __shfl_xor_sync(0xffffffffu, odd ? s[1] : s[3], 4);
    if (odd) {
      s[0] = x;
      s[1] = y;
    } else {
      s[2] = x;
      s[3] = y;
    }
  }
}

// n: which of the warp's 8 pairs of columns the lane has.
template <WeightLayout kLayout>
__device__ __forceinline__ int pair_of_lane() {
  const int lane = threadIdx.x & 31;
  return kLayout == WeightLayout::kInOut ? (lane & 4) + lane / 8 : lane / 4;
}

// Stores a warp's sums. kGated: out[row][column / 2] = gate sigmoid(alpha gate) (up + shift), where gate and up are
// scaled sums plus bias. Else out[row][column] = scale sum + bias.
template <WeightLayout kLayout, bool kGated, class T>
struct StreamStore {
  const T* bias;  // [experts][columns.width], or null
  T* out;
  const float* scales;  // of the tile's rows, or null
  const Columns columns;
  const Activation& activation;

  // positions: the row of `out` for each of the tile's rows.
  template <int kEights>
  __device__ __forceinline__ void operator()(float (&sums)[kEights][4], const TilePosition& at, const int* positions,
                                             int rows) const {
    const int pair = at.column / 2 + static_cast<int>(threadIdx.x) / 32 * 8 + pair_of_lane<kLayout>();
    const int pairs = columns.width / 2;
    const bool exists = pair < pairs;
    float2 biases = {0.0f, 0.0f};
    if (bias && exists) {
      const T* const own = bias + static_cast<size_t>(at.expert) * columns.width;
      const int half = columns.half;
      biases = {widen(own[half ? pair : pair * 2]), widen(own[half ? half + pair : pair * 2 + 1])};
    }
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      float(&s)[4] = sums[j];
      pair_columns<kLayout>(s);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const int own = j * 8 + static_cast<int>(threadIdx.x & 3) * 2 + i;
        if (own >= rows || !exists) continue;
        const size_t row = positions[own];
        float x = s[i], y = s[2 + i];
        if (scales) {  // rounded before the bias is added, as in every kernel
          x = __fmul_rn(x, scales[own]);
          y = __fmul_rn(y, scales[own]);
        }
        x += biases.x;
        y += biases.y;
        if constexpr (kGated) {
          out[row * pairs + pair] = narrow<T>(gated_swish(x, y, activation));
        } else {
          *reinterpret_cast<uint32_t*>(out + (row * pairs + pair) * 2) = pack2<T>(x, y);
        }
      }
    }
  }
};

}  // namespace yamoe
