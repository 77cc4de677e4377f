// Copies the packed weights of grouped_gemm.cuh and decodes them.
//
// Each thread copies and decodes one column of a tile. A stage has the numbers of each column's step, then its scale. They are
// decoded right before the barrier after which the step is multiplied: to one of two tiles that follow the ring, as weights
// [out, in] are stored in a stage.
//
// The depth is a multiple of 32, or of 16 for numbers of eight bits. All numbers of a column's step have the same scale; of
// E2M1 with an E4M3 scale, the first 16 and the last 16.
#pragma once
#include <ptx.cuh>

#include "grouped_gemm.cuh"
#include "stored_weights.cuh"

namespace yamoe {

template <class T>
struct StoredArguments : Product<T> {
  StoredWeights weights;
};

template <class Tile_, class T_, int kBits>
struct Stored {
  using Tile = Tile_;
  using T = T_;
  static constexpr bool kOutIn = true;
  static constexpr int kParts = kBits / 4;  // of 16 bytes, of a column's step
  static constexpr int kValueBytes = Tile::kBN * kParts * 16, kBytes = kValueBytes + Tile::kBN * 8;
  static constexpr int kStageBytes = Tile::kBytesA + kBytes;
  static constexpr int kTiles = Tile::kStages * kStageBytes;  // after the ring
  // Scales are loaded into registers and stored with the next step, if that is early enough.
  static constexpr bool kDelayed = Tile::kStages > 2;

  static_assert(Tile::kThreads == Tile::kBN, "each thread has a column");

  const StoredArguments<T>& p;
  const StoredWeights& w;
  const uint32_t ring;
  uint32_t tile;              // the one that was decoded last
  const unsigned char* from;  // the numbers of the next step
  int scale, same_scale;      // the next scale, and how many steps still have the present one
  uint32_t global;
  uint2 delayed;  // the bits of the present scale

  __device__ __forceinline__ Stored(const StoredArguments<T>& arguments)
      : p(arguments),
        w(arguments.weights),
        ring(shared_address(dynamic_smem())),
        tile(ring + kTiles),
        from(nullptr),
        scale(0),
        same_scale(0),
        global(0),
        delayed{} {}

  // Bit 16: whether the thread's column exists.
  __device__ __forceinline__ uint32_t aim(const TilePosition& at) {
    const int n = at.column + static_cast<int>(threadIdx.x), width = p.columns.width;
    if (n >= width) return 0;
    const int row = source_column<true>(p.columns, n);
    from = w.values + (static_cast<size_t>(at.expert) * width + row) * (kBits == 8 ? p.depth : p.depth / 2);
    scale = static_cast<int>(first_scale(w, at.expert, row, width, p.depth));
    same_scale = 0;
    if (w.globals) global = __float_as_uint(global_scale(w, at.expert, row, width));
    return 0x10000;
  }

  __device__ __forceinline__ void load(uint32_t stage, uint32_t live, int left) {
    const bool exists = left > 0 && live & 0x10000;
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      cp_async_16(stage + value_offset(part), from + part * 16, exists && part * 16 < left ? 16 : 0);
    }
    from += kParts * 16;
    if constexpr (kDelayed) {
      const uint32_t first = ring + Tile::kBytesA;
      store_scales(stage == first ? first + (Tile::kStages - 1) * kStageBytes : stage - kStageBytes, delayed);
    }
    if (exists && same_scale == 0) {
      delayed = load_scales();
      scale += w.scale_format == kScaleE4M3 ? 2 : 1;
      same_scale = (w.scale_columns + kBK - 1) / kBK;
    }
    --same_scale;
    if constexpr (!kDelayed) store_scales(stage, delayed);
  }

  // Decodes a stage that the thread has waited for.
  __device__ __forceinline__ void prepare(uint32_t stage) {
    tile = 2 * (ring + kTiles) + Tile::kBytesB - tile;
    const uint2 bits = *reinterpret_cast<const uint2*>(shared(stage + kValueBytes + threadIdx.x * 8));
    if constexpr (kBits == 8) {
      decode<kE4M3>(stage, bits);
    } else if (w.numbers == kE2M1) {
      decode<kE2M1>(stage, bits);
    } else {
      decode<kUnsigned>(stage, bits);
    }
  }

  __device__ __forceinline__ uint32_t prepared(uint32_t) const { return tile; }

 private:
  static __device__ __forceinline__ int value_offset(int part) { return (part * Tile::kBN + threadIdx.x) * 16; }
  __device__ __forceinline__ unsigned char* shared(uint32_t address) const { return dynamic_smem() + (address - ring); }

  // The bits of the scale of a step, or of both; and those of the zero point or of the global scale.
  __device__ __forceinline__ uint2 load_scales() const {
    uint32_t bits = load_scale(w, scale);
    if (w.scale_format == kScaleE4M3) bits |= load_scale(w, scale + 1) << 8;
    const uint32_t zero_point = w.zero_points ? w.zero_points[scale] : 8;
    return make_uint2(bits, w.globals ? global : zero_point);
  }
  __device__ __forceinline__ void store_scales(uint32_t stage, uint2 bits) const {
    *reinterpret_cast<uint2*>(shared(stage + kValueBytes + threadIdx.x * 8)) = bits;
  }

  __device__ __forceinline__ float value_of(uint32_t bits, uint32_t global) const {
    const float value = value_of_scale(bits, w.scale_format);
    return w.globals ? __fmul_rn(value, __uint_as_float(global)) : value;
  }

  // Decodes a column's step, 16 numbers at a time. The loop is not unrolled, to save registers.
  template <int kNumbers>
  __device__ __forceinline__ void decode(uint32_t stage, uint2 bits) const {
    const bool pairs = w.scale_format == kScaleE4M3;
    float factor = value_of(pairs ? bits.x & 255 : bits.x, bits.y);
    const uint32_t flipped = kNumbers == kUnsigned && w.numbers == kSigned ? 0x88888888 : 0;
#pragma unroll 1
    for (int half = 0; half < 2; ++half) {
      if (half && pairs) factor = value_of(bits.x >> 8, bits.y);
      uint32_t words[kBits / 2];
      if constexpr (kBits == 8) {
        const uint4 v = *reinterpret_cast<const uint4*>(shared(stage + value_offset(half)));
        words[0] = v.x, words[1] = v.y, words[2] = v.z, words[3] = v.w;
      } else {
        const uint2 v = *reinterpret_cast<const uint2*>(shared(stage + value_offset(0) + half * 8));
        words[0] = v.x, words[1] = v.y;
      }
#pragma unroll
      for (int c = 0; c < 2; ++c) {
        float values[8];
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          if constexpr (kNumbers == kE4M3) {
            values[j] = value_of_e4m3(words[2 * c + j / 4] << (24 - j % 4 * 8));
          } else if constexpr (kNumbers == kE2M1) {
            values[j] = value_of_e2m1(words[c] << (28 - 4 * j));
          } else {
            values[j] = difference((words[c] ^ flipped) >> 4 * j & 15, bits.y);
          }
          values[j] = __fmul_rn(values[j], factor);
        }
        if constexpr (kNumbers == kE4M3) replace_nans(words[2 * c], words[2 * c + 1], values);
        *reinterpret_cast<uint4*>(shared(tile + swizzle_deep(threadIdx.x, half * 2 + c))) = pack_16<T>(values);
      }
    }
  }

  static __device__ __forceinline__ void replace_nans(uint32_t first, uint32_t second, float (&values)[8]) {
    if (!(((first & 0x7f7f7f7f) + 0x01010101 | (second & 0x7f7f7f7f) + 0x01010101) & 0x80808080)) return;
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      if (is_nan_e4m3((j < 4 ? first : second) >> j % 4 * 8)) values[j] = __uint_as_float(0x7fffffff);
    }
  }
};

}  // namespace yamoe
