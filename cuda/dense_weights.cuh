// Copies the weights of grouped_gemm.cuh that are stored as elements of T.
//
// `aim` computes the addresses of a tile and returns what the loader keeps in the upper half of `live`. `load` copies the
// next step to a stage. `prepared` is where the multiplication reads a stage that has arrived and was prepared.
#pragma once
#include <ptx.cuh>

#include "grouped_gemm.cuh"

namespace yamoe {

// Weights [experts][width][depth]: each column of the product is a row in memory.
template <class Tile_, class T_>
struct OutIn {
  using Tile = Tile_;
  using T = T_;
  static constexpr bool kOutIn = true;
  static constexpr int kBytes = Tile::kBytesB;  // of a stage

  const ProductArguments<T>& p;
  const int chunk;
  const uint32_t offset;
  const T* from;

  __device__ __forceinline__ OutIn(const ProductArguments<T>& arguments)
      : p(arguments), chunk(threadIdx.x % 4), offset(swizzle_deep(threadIdx.x / 4, chunk)) {}

  // Bits 16-31: which of the thread's rows exist.
  __device__ __forceinline__ uint32_t aim(const TilePosition& at) {
    const int n = at.column + static_cast<int>(threadIdx.x) / 4;
    uint32_t live = 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesT; ++i) {
      live |= static_cast<uint32_t>(n + i * Tile::kRowsT < p.columns.width) << (16 + i);
    }
    from = p.weights +
           (static_cast<size_t>(at.expert) * p.columns.width + source_column<true>(p.columns, n)) * p.depth +
           chunk * kChunk;
    return live;
  }

  __device__ __forceinline__ void load(uint32_t stage, uint32_t live, int left) {
    const uint32_t rows = chunk * kChunk < left ? live : 0;
    // The distance between two passes in memory, in rows.
    const int pass = p.columns.half ? Tile::kRowsT / 2 : Tile::kRowsT;
#pragma unroll
    for (int i = 0; i < Tile::kPassesT; ++i) {
      cp_async_16(stage + offset + i * Tile::kRowsT * kBK * 2, from + static_cast<size_t>(i * pass) * p.depth,
                  (rows >> (16 + i) & 1) * 16);
    }
    from += kBK;
  }

  __device__ __forceinline__ void prepare(uint32_t) {}
  __device__ __forceinline__ uint32_t prepared(uint32_t stage) const { return stage; }
};

// Weights [experts][depth][width].
template <class Tile_, class T_>
struct InOut {
  using Tile = Tile_;
  using T = T_;
  static constexpr bool kOutIn = false;
  static constexpr int kBytes = Tile::kBytesB;

  const ProductArguments<T>& p;
  const int row;  // the thread copies a chunk of this row and of every kRowsB-th below it
  const uint32_t offset;
  const T* from;

  __device__ __forceinline__ InOut(const ProductArguments<T>& arguments)
      : p(arguments),
        row(threadIdx.x / Tile::kChunksB),
        offset(swizzle_wide<Tile>(row, threadIdx.x % Tile::kChunksB)) {}

  // The sign bit: whether the thread's columns exist.
  __device__ __forceinline__ uint32_t aim(const TilePosition& at) {
    const int n = at.column + static_cast<int>(threadIdx.x) % Tile::kChunksB * kChunk;
    const uint32_t live = n < p.columns.width ? 0x80000000u : 0;
    const int column = live ? source_column<false>(p.columns, n) : 0;
    from = p.weights + (static_cast<size_t>(at.expert) * p.depth + row) * p.columns.width + column;
    return live;
  }

  __device__ __forceinline__ void load(uint32_t stage, uint32_t live, int left) {
    const int depth = static_cast<int>(live) < 0 ? left : 0;
#pragma unroll
    for (int i = 0; i < Tile::kPassesB; ++i) {
      // With fewer than 8 rows in a pass, the next pass has other row bits in its swizzle.
      const uint32_t to = (offset ^ (i * Tile::kRowsB & 7) * 16) + i * Tile::kRowsB * Tile::kBN * 2;
      cp_async_16(stage + to, from + static_cast<size_t>(i * Tile::kRowsB) * p.columns.width,
                  row + i * Tile::kRowsB < depth ? 16 : 0);
    }
    from += static_cast<size_t>(kBK) * p.columns.width;
  }

  __device__ __forceinline__ void prepare(uint32_t) {}
  __device__ __forceinline__ uint32_t prepared(uint32_t stage) const { return stage; }
};

}  // namespace yamoe
