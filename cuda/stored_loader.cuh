// Copies the packed weights of grouped_gemm.cuh and decodes them.
//
// A stage has the numbers of each column's step, then its scale. A thread decodes what it has copied, right before the barrier
// after which the step is multiplied: to one of two tiles that follow the ring, as weights [out, in] are stored in a stage.
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
  static constexpr int kColumns = Tile::kBN / Tile::kThreads;  // of a thread
  static constexpr int kParts = kBits / 4;                     // of 16 bytes, of a column's step
  static constexpr int kValueBytes = Tile::kBN * kParts * 16, kBytes = kValueBytes + Tile::kBN * 8;
  static constexpr int kChunks = 16 / kBits;                               // of 16 bytes when decoded, of a part
  static constexpr int kTiles = Tile::kStages * (Tile::kBytesA + kBytes);  // after the ring
  // Scales are loaded into registers and stored with the next step, if that is early enough.
  static constexpr bool kDelayed = Tile::kStages > 2;

  static_assert(kColumns * Tile::kThreads == Tile::kBN, "the columns must divide among the threads");

  const StoredArguments<T>& p;
  const StoredWeights& w;
  const uint32_t ring;
  uint32_t tile;  // the one that was decoded last
  const unsigned char* from;
  int scales[kColumns];  // of the next step
  int same_scale;           // how many steps have it
  uint32_t globals[kColumns];
  uint2 delayed[kColumns];

  __device__ __forceinline__ Stored(const StoredArguments<T>& arguments)
      : p(arguments),
        w(arguments.weights),
        ring(shared_address(dynamic_smem())),
        tile(ring + kTiles),
        from(nullptr),
        scales{},
        same_scale(0),
        globals{},
        delayed{} {}

  // Bits 16-31: which of the thread's columns exist.
  __device__ __forceinline__ uint32_t aim(const TilePosition& at) {
    const Columns& columns = p.columns;
    uint32_t live = 0;
    same_scale = steps_of_scale();
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const int n = at.column + static_cast<int>(threadIdx.x) + i * Tile::kThreads;
      if (n >= columns.width) continue;
      const int row = source_column<true>(columns, n);
      live |= 0x10000u << i;
      if (i == 0) from = w.values + (static_cast<size_t>(at.expert) * columns.width + row) * row_bytes();
      scales[i] = static_cast<int>(first_scale(w, at.expert, row, columns.width, p.depth));
      if (w.globals) globals[i] = __float_as_uint(global_scale(w, at.expert, row, columns.width));
    }
    return live;
  }

  __device__ __forceinline__ void load(uint32_t stage, uint32_t live, int left) {
    const int pass = p.columns.half ? Tile::kThreads / 2 : Tile::kThreads;  // the distance of two columns, in rows
    uint2 loaded[kColumns];
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      const bool exists = left > 0 && live >> (16 + i) & 1;
      const unsigned char* const source = from + static_cast<size_t>(i * pass) * row_bytes();
#pragma unroll
      for (int part = 0; part < kParts; ++part) {
        cp_async_16(stage + value_offset(i, part), source + part * 16, exists && part * 16 < left ? 16 : 0);
      }
      loaded[i] = exists ? load_scales(i) : make_uint2(0, 0);
    }
    from += kParts * 16;
    if (--same_scale == 0) {
#pragma unroll
      for (int i = 0; i < kColumns; ++i) scales[i] += w.scale_format == kScaleE4M3 ? 2 : 1;
      same_scale = steps_of_scale();
    }
    constexpr int kStageBytes = Tile::kBytesA + kBytes;
    const uint32_t first = ring + Tile::kBytesA;
    const uint32_t before = stage == first ? first + (Tile::kStages - 1) * kStageBytes : stage - kStageBytes;
#pragma unroll
    for (int i = 0; i < kColumns; ++i) {
      if constexpr (kDelayed) {
        store_scales(before, i, delayed[i]);
        delayed[i] = loaded[i];
      } else {
        store_scales(stage, i, loaded[i]);
      }
    }
  }

  // Decodes a stage that the thread has waited for. The loops are not unrolled, to save registers and to keep the code small.
  // Registers cannot be indexed, so the words move up.
  __device__ __forceinline__ void prepare(uint32_t stage) {
    tile = 2 * (ring + kTiles) + Tile::kBytesB - tile;
#pragma unroll 1
    for (int i = 0; i < kColumns; ++i) {
      const uint2 bits = *reinterpret_cast<const uint2*>(shared(stage + kValueBytes + column(i) * 8));
      const bool pairs = w.scale_format == kScaleE4M3;
      float scale = scale_of(pairs ? bits.x & 255 : bits.x, bits.y);
      const float second = pairs ? scale_of(bits.x >> 8, bits.y) : scale;
#pragma unroll 1
      for (int part = 0; part < kParts; ++part) {
        uint4 v = *reinterpret_cast<const uint4*>(shared(stage + value_offset(i, part)));
#pragma unroll 1
        for (int c = 0; c < kChunks; ++c) {
          float values[8];
          if constexpr (kBits == 8) {
            decode_e4m3(v.x, v.y, values);
            v.x = v.z;
            v.y = v.w;
          } else {
            decode_nibbles(v.x, bits.y, values);
            if (c == 2) scale = second;
            v.x = v.y;
            v.y = v.z;
            v.z = v.w;
          }
#pragma unroll
          for (float& value : values) value = __fmul_rn(value, scale);
          *reinterpret_cast<uint4*>(shared(tile + swizzle_deep(column(i), part * kChunks + c))) = pack_16<T>(values);
        }
      }
    }
  }

  __device__ __forceinline__ uint32_t prepared(uint32_t) const { return tile; }

 private:
  __device__ __forceinline__ int row_bytes() const { return kBits == 8 ? p.depth : p.depth / 2; }
  __device__ __forceinline__ int steps_of_scale() const { return (w.scale_columns + kBK - 1) / kBK; }
  static __device__ __forceinline__ int column(int i) { return i * Tile::kThreads + static_cast<int>(threadIdx.x); }
  static __device__ __forceinline__ int value_offset(int i, int part) { return (part * Tile::kBN + column(i)) * 16; }
  __device__ __forceinline__ unsigned char* shared(uint32_t address) const { return dynamic_smem() + (address - ring); }

  // The bits of the scale of a step, or of both; and those of the zero point or of the global scale.
  __device__ __forceinline__ uint2 load_scales(int i) const {
    const int at = scales[i];
    uint32_t bits = load_scale(w, at);
    if (w.scale_format == kScaleE4M3) bits |= load_scale(w, at + 1) << 8;
    const uint32_t zero_point = w.zero_points ? w.zero_points[at] : 8;
    return make_uint2(bits, w.globals ? globals[i] : zero_point);
  }
  __device__ __forceinline__ void store_scales(uint32_t stage, int i, uint2 bits) const {
    *reinterpret_cast<uint2*>(shared(stage + kValueBytes + column(i) * 8)) = bits;
  }

  __device__ __forceinline__ float scale_of(uint32_t bits, uint32_t global) const {
    const float scale = value_of_scale(bits, w.scale_format);
    return w.globals ? __fmul_rn(scale, __uint_as_float(global)) : scale;
  }

  __device__ __forceinline__ void decode_nibbles(uint32_t word, uint32_t zero_point, float (&values)[8]) const {
    if (w.numbers == kE2M1) {
#pragma unroll
      for (int j = 0; j < 8; ++j) values[j] = value_of_e2m1(word << (28 - 4 * j));
    } else {
      if (w.numbers == kSigned) word ^= 0x88888888;
#pragma unroll
      for (int j = 0; j < 8; ++j) values[j] = difference(word >> 4 * j & 15, zero_point);
    }
  }

  static __device__ __forceinline__ void decode_e4m3(uint32_t first, uint32_t second, float (&values)[8]) {
#pragma unroll
    for (int j = 0; j < 8; ++j) values[j] = value_of_e4m3((j < 4 ? first : second) << (24 - j % 4 * 8));
    if (((first & 0x7f7f7f7f) + 0x01010101 | (second & 0x7f7f7f7f) + 0x01010101) & 0x80808080) {
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        if (is_nan_e4m3((j < 4 ? first : second) >> j % 4 * 8)) values[j] = __uint_as_float(0x7fffffff);
      }
    }
  }
};

}  // namespace yamoe
