// A product: for each expert, its rows times its weights. Its arguments and how it is divided into tiles, for all kernels.
#pragma once
#include <cstddef>

#include "activation.cuh"

namespace yamoe {

constexpr int kChunk = 8;    // elements of a 16-byte chunk
constexpr int kRaster = 16;  // row tiles that advance along the columns together, so that A stays in L2

// The columns of a product, and their order in memory.
struct Columns {
  int width;
  int half;  // 0: in the order of memory. Else gate and up columns alternate, and this is their distance in memory.
};

// The column in memory of column n of the product. Gate and up columns alternate by chunks, so that a copied chunk
// stays whole, or, if each column is a row in memory, one by one.
template <bool kOutIn>
__device__ __forceinline__ int source_column(const Columns& columns, int n) {
  if (!columns.half) return n;
  if (kOutIn) return (n & 1) * columns.half + (n >> 1);
  return (n & kChunk ? columns.half : 0) + n / (2 * kChunk) * kChunk + n % kChunk;
}

// The arguments of every product kernel, except for B.
template <class T>
struct Product {
  const T* input;           // A
  const T* bias;            // [experts][width], or null
  T* out;                   // [rows][width], or [rows][width / 2] with a gate
  const int* row_index;     // [rows]: the row of A for each row of the product, or null if they are the same
  const float* row_scales;  // [rows]: multiplies each row's sums before the bias is added; null: 1
  const int* row_offsets;   // [experts + 1]: the first row of each expert
  const int* tile_offsets;  // [experts + 1]: the first row tile of each expert
  int experts, depth;
  Columns columns;
  Activation activation;
  int out_in, gated;  // read only by the kernels without tensor cores; the others are compiled for one choice
  int offsets_ready;  // whether the offsets are older than the previous kernel's results
};

template <class T>
struct ProductArguments : Product<T> {
  const T* weights;
};

// One tile: at most kBM rows, from `row` to `row_end`, and columns from `column`.
struct TilePosition {
  int expert, row, row_end, column;
};

// `P` has the offsets, experts and columns of a product.
template <class Tile, class P>
__device__ __forceinline__ int tile_count(const P& p) {
  return p.tile_offsets[p.experts] * ((p.columns.width + Tile::kBN - 1) / Tile::kBN);
}

// The position of a tile of expert e. The tiles of an expert are consecutive. Within an expert, kRaster row tiles advance
// along the columns together.
template <class Tile, class P>
__device__ __forceinline__ TilePosition locate(const P& p, int index, int e) {
  const int column_tiles = (p.columns.width + Tile::kBN - 1) / Tile::kBN;
  const int first = p.tile_offsets[e];
  const int row_tiles = p.tile_offsets[e + 1] - first;
  const int local = index - first * column_tiles;
  const int group = local / (kRaster * column_tiles);
  const int height = min(kRaster, row_tiles - group * kRaster);
  const int rest = local - group * kRaster * column_tiles;
  const int m = group * kRaster + rest % height;
  const int n = rest / height;
  return {e, p.row_offsets[e] + m * Tile::kBM, p.row_offsets[e + 1], n * Tile::kBN};
}

template <class Tile, class P>
__device__ __forceinline__ TilePosition locate(const P& p, int index) {
  const int row_tile = index / ((p.columns.width + Tile::kBN - 1) / Tile::kBN);
  int e = 0;
  for (int upper = p.experts; upper - e > 1;) {
    const int middle = (e + upper) >> 1;
    if (p.tile_offsets[middle] <= row_tile) {
      e = middle;
    } else {
      upper = middle;
    }
  }
  return locate<Tile>(p, index, e);
}

}  // namespace yamoe
