// The arguments of the kernel for few rows per expert, its shared memory, and the tiles in the order of their tickets.
#pragma once
#include "boxes.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_, int kBoxes_>
struct StreamTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBoxes = kBoxes_, kBoxDepth = 64, kBK = kBoxes * kBoxDepth;    // depth of a step
  static constexpr int kSlabColumns = 64, kSlabBytes = kBoxDepth * kSlabColumns * 2;  // of weights [in, out]
  static constexpr int kConsumers = kBN / 16, kThreads = (kConsumers + 2) * 32;
  // What the copying warps pass to the others with a tile. With two slots more than stages nobody waits for an empty one:
  // when the copies of a tile begin, all warps have completed the tile that had its slot before.
  struct Slot {
    int positions[kBM];  // of its rows, among those of the layer
    float scales[kBM];
    int ticket, padding[3];
  };
  struct Slots {
    static constexpr int kStages = StreamTile::kStages + 2;
  };

  static constexpr int kBoxBytes = kBN * kBoxDepth * 2, kWeightBytes = kBoxes * kBoxBytes;
  static constexpr int kRowBytes = kBK * 2 + 16;  // of the input; the padding avoids bank conflicts of ldmatrix
  static constexpr int kRows = kStages * kWeightBytes, kFull = kRows + kStages * kBM * kRowBytes;
  static constexpr int kEmpty = kFull + kStages * 8, kTaken = kEmpty + kStages * 8;
  static constexpr int kSlotsAt = kTaken + Slots::kStages * 8;
  static constexpr int kSort = kSlotsAt + Slots::kStages * static_cast<int>(sizeof(Slot));

  static_assert(kBM % 8 == 0 && kBM <= 32, "mma.sync has 8 columns, and each lane finds a row");
};

template <class T>
struct StreamArguments {
  TensorMap gate_up_weights, down_weights;
  const T* hidden_states;  // [tokens][hidden]
  const T* gate_up_bias;   // [experts][gate_up_width], or null
  T* activations;          // [rows][intermediate]
  const T* down_bias;      // [experts][hidden], or null
  T* out;                  // [rows][hidden]
  const int* indices;  // [rows]: the expert of each assignment; null: the rows are sorted, and the next four are given
  const int* row_offsets;   // [experts + 1]: the first row of each expert
  const int* tile_offsets;  // [experts + 1]: the first row tile of each expert
  const int* row_index;     // [rows]: the row of hidden_states for each row
  const float* row_scales;  // [rows]: multiplies the sums of gate_up before the bias is added; null: 1
  int* counters;            // zeros, also afterwards: tickets, and then announcements for each row tile
  Activation activation;
  int experts, hidden, intermediate;
  int gate_up_width;                 // 2 intermediate
  int products;                      // 1: gate_up, 2: down, 3: both
  int ready;                         // whether indices and offsets are older than the previous kernel's results
  int split;                         // whether all gate columns are before all up columns
  int assignments, top_k, capacity;  // used if indices are given
};

struct StreamPosition {
  bool down;
  int row_tile;
  TilePosition at;
  int rows;
};

// What `locate` needs of a product.
struct StreamProduct {
  const int* row_offsets;
  const int* tile_offsets;
  int experts;
  Columns columns;
};

// The tiles in the order of their tickets.
template <class Tile>
struct StreamTiles {
  StreamProduct gate_up, down;
  int gate_up_tiles, count;
  int announcements;  // of all tiles of gate_up with the same rows
  int down_columns;   // tiles of down with the same rows

  template <class T>
  __device__ __forceinline__ StreamTiles(const StreamArguments<T>& a, const int* row_offsets, const int* tile_offsets)
      : gate_up{row_offsets, tile_offsets, a.experts, {a.gate_up_width, a.split ? a.intermediate : 0}},
        down{row_offsets, tile_offsets, a.experts, {a.hidden, 0}},
        gate_up_tiles(a.products & 1 ? tile_count<Tile>(gate_up) : 0),
        count(gate_up_tiles + (a.products & 2 ? tile_count<Tile>(down) : 0)),
        announcements((a.gate_up_width + Tile::kBN - 1) / Tile::kBN * Tile::kConsumers),
        down_columns((a.hidden + Tile::kBN - 1) / Tile::kBN) {}

  __device__ __forceinline__ StreamPosition locate(int ticket) const {
    const bool is_down = ticket >= gate_up_tiles;
    const StreamProduct p = {
        down.row_offsets, down.tile_offsets, down.experts, {is_down ? down.columns.width : gate_up.columns.width, 0}};
    const int index = is_down ? ticket - gate_up_tiles : ticket;
    const int column_tiles = (p.columns.width + Tile::kBN - 1) / Tile::kBN;
    int e = 0;  // the expert; the lanes read all offsets at once, which is faster than a binary search
#pragma unroll 4
    for (int base = 1; base < p.experts; base += 32) {
      const int other = base + static_cast<int>(threadIdx.x % 32);
      const bool before = other < p.experts && p.tile_offsets[other] * column_tiles <= index;
      e += __popc(__ballot_sync(0xffffffffu, before));
    }
    const int first = p.tile_offsets[e], row = p.row_offsets[e];
    if (p.tile_offsets[e + 1] == first + 1) {  // without divisions
      const int row_end = p.row_offsets[e + 1];
      return {is_down, first, {e, row, row_end, (index - first * column_tiles) * Tile::kBN}, row_end - row};
    }
    const TilePosition at = yamoe::locate<Tile>(p, index, e);
    return {is_down, first + (at.row - row) / Tile::kBM, at, min(Tile::kBM, at.row_end - at.row)};
  }
};

}  // namespace yamoe
