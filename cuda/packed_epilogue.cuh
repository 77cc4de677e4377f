// The epilogue of the packed products: scale, bias, activation, one rounding. The operations on a sum are those of
// epilogue.cuh. Lane l of a warp has the sums of outputs 2 (l / 4) and 2 (l / 4) + 1 of the warp's 16, for the rows
// 2 (l % 4) and 2 (l % 4) + 1 of every 8.
#pragma once
#include "packed_panels.cuh"
#include "packed_tiles.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Results of gate_up are stored in panels with PackedArguments, or else in rows.
template <class T, class Arguments>
struct PackedStore {
  const Arguments& a;

  // row_of(row) is the number of a tile's row in the output and the scales.
  template <int kEights, class Rows>
  __device__ __forceinline__ void operator()(float (&sums)[kEights][4], const PackedProduct& p, const PackedPosition& at,
                                             const Rows& row_of) const {
    if (at.down) {
      store_rows(sums, p, at, row_of);
    } else if (a.activation.kind == kSwish) {
      store_activations(sums, p, at, row_of,
                        [&](float gate, float up) { return gated_swish(gate, up, a.activation); });
    } else {
      with_fast_activation(a.activation, [&](const auto& f) {
        store_activations(sums, p, at, row_of, [&](float gate, float up) { return f(gate) * up; });
      });
    }
  }

 private:
  static constexpr bool kPanels = std::is_same_v<Arguments, PackedArguments>;

  // The first of the thread's two outputs.
  static __device__ __forceinline__ int output_of(const PackedPosition& at) {
    return (at.strip * 4 + static_cast<int>(threadIdx.x) / 32) * 16 + static_cast<int>(threadIdx.x % 32) / 4 * 2;
  }

  static __device__ __forceinline__ float2 biases(const PackedProduct& p, int expert, int n, int other) {
    if (!p.bias || n >= p.width) return {0.0f, 0.0f};
    const T* const own = static_cast<const T*>(p.bias) + static_cast<size_t>(expert) * p.width;
    return {widen(own[n]), widen(own[other])};
  }

  // out[row][output] = sum + bias.
  template <int kEights, class Rows>
  __device__ __forceinline__ void store_rows(float (&sums)[kEights][4], const PackedProduct& p, const PackedPosition& at,
                                             const Rows& row_of) const {
    const int n = output_of(at), lane = threadIdx.x % 32;
    if (n >= p.width) return;
    const float2 bias = biases(p, at.expert, n, n + 1);
    T* const out = static_cast<T*>(p.out) + n;
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      if (!kPanels && j * 8 >= at.rows) break;  // other tiles have an epilogue for each width
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = j * 8 + lane % 4 * 2 + h;
        if (row < at.rows) {
          *reinterpret_cast<uint32_t*>(out + static_cast<size_t>(row_of(row)) * p.width) =
              pack2<T>(sums[j][h] + bias.x, sums[j][2 + h] + bias.y);
        }
      }
    }
  }

  // out[row][output / 2] = activate(scale gate + bias, scale up + bias). Two lanes with neighbouring columns exchange
  // results: the even one stores both columns of its first row, and the odd one those of its second.
  template <int kEights, class Rows, class Activate>
  __device__ __forceinline__ void store_activations(float (&sums)[kEights][4], const PackedProduct& p,
                                                    const PackedPosition& at, const Rows& row_of,
                                                    const Activate& activate) const {
    const int n = output_of(at), lane = threadIdx.x % 32, half = p.width / 2;
    if (n / 2 - lane / 4 >= half) return;  // none of the warp's columns exist
    const float2 bias = a.split ? biases(p, at.expert, n / 2, half + n / 2) : biases(p, at.expert, n, n + 1);
    const bool odd = lane & 4;
    const int pair = lane % 4 * 2, own = pair + odd;
    const int column = n / 2 & ~1;
    unsigned char* const out = static_cast<unsigned char*>(p.out);
    const auto offset_of = [&](int row) {
      if constexpr (kPanels) {
        return panel_offset(a.rows, row_of(row), row, column);
      } else {
        return (static_cast<size_t>(row_of(row)) * half + column) * 2;
      }
    };
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      if (!kPanels && j * 8 >= at.rows) break;  // other tiles have an epilogue for each width
      float x[2];
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const int row = j * 8 + pair + h;
        float gate = sums[j][h], up = sums[j][2 + h];
        if (a.row_scales) {
          const float scale = row < at.rows ? a.row_scales[row_of(row)] : 1.0f;
          gate = __fmul_rn(gate, scale);
          up = __fmul_rn(up, scale);
        }
        x[h] = activate(gate + bias.x, up + bias.y);
      }
      const float other = __shfl_xor_sync(0xffffffffu, odd ? x[0] : x[1], 4);
      if (j * 8 + own < at.rows) {
        *reinterpret_cast<uint32_t*>(out + offset_of(j * 8 + own)) = odd ? pack2<T>(other, x[1]) : pack2<T>(x[0], other);
      }
    }
  }
};

#endif

}  // namespace yamoe
