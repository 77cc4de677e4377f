// Both products of a layer for few rows per expert on Hopper, in one kernel. With few rows the time is that of reading the
// weights, so the kernel only has to keep enough copies in flight on every multiprocessor.
//
// A tile is kBN columns by up to kBM rows. The operands of mma.sync are swapped: the weights' columns are its 16 rows, and
// the input's rows are its 8 columns, so few rows waste little. A tile computes only as many rows, in eights, as there are.
//
// A block has four warps that multiply, 16 columns each; one that copies weights, in boxes of a tensor map; and one that
// copies the input's rows, each with one bulk copy per step. They synchronize with two mbarriers per stage of the ring:
// "full" completes with the last byte of a stage, and "empty" with the last read of it. The copies run ahead from one tile
// to the next. Several blocks share a multiprocessor: all of them have equally many bytes in flight, so the memory serves
// them equally, even if some multiprocessors have more of them.
//
// Blocks take the tiles of gate_up, and then those of down, by tickets in this order. A tile of down needs all columns of its
// rows from gate_up: it waits for announcements at the counter of its row tile. They come from tiles with earlier tickets,
// which running blocks have taken, so it does not matter how many blocks run at once. Only the copy of the rows waits: the
// ring already has the first weights of down.
//
// If the assignments are few, each block sorts them itself: see block_sort.cuh. Then the results of an assignment are stored
// at its own position, so that the next kernel does not need the order of the rows.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <type_traits>

#include "block_sort.cuh"
#include "boxes.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_, int kBoxes_>
struct StreamTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBoxes = kBoxes_, kBoxDepth = 64, kBK = kBoxes * kBoxDepth;  // depth of a step
  static constexpr int kSlabColumns = 64, kSlabBytes = kBoxDepth * kSlabColumns * 2;  // of weights [in, out]
  static constexpr int kConsumers = kBN / 16, kThreads = (kConsumers + 2) * 32;
  // What the warps tell each other about a tile. Nobody waits for an empty slot: when the copies of a tile begin, all warps
  // have completed the tile kSlots before it.
  struct Slot {
    int positions[kBM];  // of its rows, among those of the layer
    float scales[kBM];
    int ticket, padding[3];
  };
  static constexpr int kSlots = kStages + 2;

  static constexpr int kBoxBytes = kBN * kBoxDepth * 2, kWeightBytes = kBoxes * kBoxBytes;
  static constexpr int kRowBytes = kBK * 2 + 16;  // of the input; the padding avoids bank conflicts of ldmatrix
  static constexpr int kRows = kStages * kWeightBytes, kFull = kRows + kStages * kBM * kRowBytes;
  static constexpr int kEmpty = kFull + kStages * 8, kTaken = kEmpty + kStages * 8;
  static constexpr int kSlotsAt = kTaken + kSlots * 8, kSort = kSlotsAt + kSlots * static_cast<int>(sizeof(Slot));

  static_assert(kBM % 8 == 0 && kBM <= 32, "mma.sync has 8 columns, and each lane copies a row");
};

template <class T>
struct StreamArguments {
  TensorMap gate_up_weights, down_weights;
  const T* hidden_states;   // [tokens][hidden]
  const T* gate_up_bias;    // [experts][gate_up_width], or null
  T* activations;           // [rows][intermediate]
  const T* down_bias;       // [experts][hidden], or null
  T* out;                   // [rows][hidden]
  const int* indices;       // [rows]: the expert of each assignment; null: the rows are sorted, and the next four are given
  const int* row_offsets;   // [experts + 1]: the first row of each expert
  const int* tile_offsets;  // [experts + 1]: the first row tile of each expert
  const int* row_index;     // [rows]: the row of hidden_states for each row
  const float* row_scales;  // [rows]: multiplies the sums of gate_up before the bias is added; null: 1
  int* counters;            // zeros, also afterwards: tickets, and then announcements for each row tile
  Activation activation;
  int experts, hidden, intermediate;
  int gate_up_width;
  int products;             // 1: gate_up, 2: down, 3: both
  int ready;                // whether indices and offsets are older than the previous kernel's results
  int split;                // whether all gate columns are before all up columns
  int assignments, top_k;
};

// A position in a ring of kCount places, and the number of rounds modulo 2.
template <int kCount>
struct Place {
  int index = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void next() {
    if (++index == kCount) {
      index = 0;
      round ^= 1;
    }
  }
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
    const TilePosition at = is_down ? locate_by_warp<Tile>(down, ticket - gate_up_tiles)
                                    : locate_by_warp<Tile>(gate_up, ticket);
    const int tile = (at.row - down.row_offsets[at.expert]) / Tile::kBM;
    return {is_down, down.tile_offsets[at.expert] + tile, at, min(Tile::kBM, at.row_end - at.row)};
  }
};

// Copies the weights of a tile. Called by one thread.
template <class Tile, WeightLayout kLayout>
__device__ __forceinline__ void copy_weights(const TensorMap& weights, uint32_t ring, RingPlace<Tile>& place, int depth,
                                             int column, int expert) {
  for (int k = 0; k < depth; k += Tile::kBK) {
    const uint32_t full = ring + Tile::kFull + place.stage * 8, to = ring + place.stage * Tile::kWeightBytes;
    mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
    const int boxes = min(Tile::kBoxes, (depth - k + Tile::kBoxDepth - 1) / Tile::kBoxDepth);
    mbarrier_arrive_expecting(full, boxes * Tile::kBoxBytes);
    for (int b = 0; b < boxes; ++b) {
      const int deep = k + b * Tile::kBoxDepth;
      if constexpr (kLayout == WeightLayout::kOutIn) {
        bulk_copy_4d(to + b * Tile::kBoxBytes, weights, full, deep, 0, column, expert);
      } else {
        constexpr int kParts = kLayout == WeightLayout::kInOutSplit ? 2 : 1;
#pragma unroll
        for (int s = 0; s < Tile::kBN / Tile::kSlabColumns; ++s) {
          bulk_copy_4d(to + b * Tile::kBoxBytes + s * Tile::kSlabBytes, weights, full,
                       column + s * Tile::kSlabColumns / kParts, deep, 0, expert);
        }
      }
    }
    place.next();
  }
}

// down's weights have no gate.
template <WeightLayout kLayout>
constexpr WeightLayout kDownLayout = kLayout == WeightLayout::kInOutSplit ? WeightLayout::kInOut : kLayout;

// Returns a block's next ticket. If only one product is computed, no tile waits for another, and blocks do not share a counter.
template <class T>
__device__ __forceinline__ int take(const StreamArguments<T>& a, int before) {
  return a.products == 3 ? atomicAdd(a.counters, 1) : before + static_cast<int>(gridDim.x);
}

// One warp takes tickets, passes them to the other warps, and copies the weights of the tiles.
template <class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void take_tiles(const StreamArguments<T>& a, const StreamTiles<Tile>& tiles, uint32_t ring,
                                           typename Tile::Slot* slots, int next) {
  const bool leads = threadIdx.x % 32 == 0;
  RingPlace<Tile> place;
  Place<Tile::kSlots> slot;
  for (;;) {
    const int ticket = __shfl_sync(0xffffffffu, next, 0);
    if (leads) {
      slots[slot.index].ticket = ticket;
      mbarrier_arrive(ring + Tile::kTaken + slot.index * 8);
    }
    if (ticket >= tiles.count) {
      // Each block takes one ticket too many. The last of them lets the tickets begin again.
      const int taken = tiles.count + static_cast<int>(gridDim.x);
      if (leads && a.products == 3 && ticket == taken - 1) atomicAdd(a.counters, -taken);
      return;
    }
    const StreamPosition own = tiles.locate(ticket);
    if (leads) {
      next = take(a, ticket);  // early, because it can take a microsecond
      if (own.down) {
        copy_weights<Tile, kDownLayout<kLayout>>(a.down_weights, ring, place, a.intermediate, own.at.column,
                                                 own.at.expert);
      } else {
        copy_weights<Tile, kLayout>(a.gate_up_weights, ring, place, a.hidden,
                                    a.split ? own.at.column / 2 : own.at.column, own.at.expert);
      }
    }
    slot.next();
  }
}

// One warp copies the input's rows: each lane one row. It also writes the positions and scales of the rows to the slot.
template <class Tile, class T>
__device__ __forceinline__ void copy_rows(const StreamArguments<T>& a, const StreamTiles<Tile>& tiles,
                                          const BlockSort& sort, uint32_t ring, typename Tile::Slot* slots) {
  const int lane = threadIdx.x % 32;
  RingPlace<Tile> place;
  Place<Tile::kSlots> slot;
  for (;; slot.next()) {
    mbarrier_wait(ring + Tile::kTaken + slot.index * 8, slot.round);
    int* const positions = slots[slot.index].positions;
    float* const scales = slots[slot.index].scales;
    const int ticket = slots[slot.index].ticket;
    if (ticket >= tiles.count) return;
    const StreamPosition own = tiles.locate(ticket);
    if (a.indices) {
      sort.find(own.at.expert, own.at.row - sort.row_offsets[own.at.expert], own.rows, a.assignments, positions);
    } else {
      if (lane < own.rows) positions[lane] = own.at.row + lane;
      __syncwarp();
    }
    const T* from = own.down ? a.activations : a.hidden_states;
    const int depth = own.down ? a.intermediate : a.hidden;
    if (lane < own.rows) {
      const int position = positions[lane];
      if (!own.down && a.row_scales) scales[lane] = a.row_scales[position];
      const int row = own.down ? position : a.indices ? position / a.top_k : a.row_index[position];
      from += static_cast<size_t>(row) * depth;
    }
    if (own.down && a.products == 3) {
      int* const counter = a.counters + 1 + own.row_tile;
      wait_for_announcements(counter, tiles.announcements);
      __syncwarp();
      // Tiles of down count too, so that the last one knows that nobody waits any more.
      const int all = tiles.announcements + tiles.down_columns;
      if (lane == 0 && atomicAdd(counter, 1) == all - 1) atomicAdd(counter, -all);
    }
    for (int k = 0; k < depth; k += Tile::kBK) {
      const uint32_t full = ring + Tile::kFull + place.stage * 8;
      const uint32_t to = ring + Tile::kRows + (place.stage * Tile::kBM + lane) * Tile::kRowBytes;
      const int bytes = min(Tile::kBK, depth - k) * 2;
      mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
      __syncwarp();  // the slot is complete
      if (lane == 0) mbarrier_arrive_expecting(full, own.rows * bytes);
      __syncwarp();
      if (lane < own.rows) bulk_copy(to, from + k, bytes, full);
      place.next();
    }
  }
}

// Reads a warp's weights for a depth of 16 from a box, as the first operand of mma.sync. Its rows 0 to 7 and 8 to 15 are:
//   kInOut       the warp's columns in the order of memory
//   kInOutSplit  8 gate columns and their 8 up columns
//   kOutIn       columns 0 2 4 6 9 11 13 15 and 1 3 5 7 8 10 12 14. So each lane gets neighbouring columns, and the rows of
//                an ldmatrix phase are in different banks.
template <WeightLayout kLayout>
struct WeightReader {
  uint32_t offset;

  __device__ __forceinline__ WeightReader(int warp, int lane) {
    const int row = lane % 8, second = lane / 8 % 2, deep = lane / 16;  // of the 8x8 matrices
    if constexpr (kLayout == WeightLayout::kOutIn) {
      const int column = warp * 16 + row * 2 + (second ^ row / 4);
      offset = column * 128 + (deep ^ column % 8) * 16;
    } else if constexpr (kLayout == WeightLayout::kInOut) {
      offset = warp / 4 * 8192 + (deep * 8 + row) * 128 + (warp % 4 * 2 + second ^ row) * 16;
    } else {
      offset = warp / 4 * 8192 + second * 4096 + (deep * 8 + row) * 64 + (warp % 4 ^ row / 2) * 16;
    }
  }

  __device__ __forceinline__ void read(uint32_t (&to)[4], uint32_t box, int step) const {
    if constexpr (kLayout == WeightLayout::kOutIn) {
      ldmatrix_x4(to, box + (offset ^ step * 32));
    } else {
      ldmatrix_x4_trans(to, box + offset + step * 16 * (kLayout == WeightLayout::kInOut ? 128 : 64));
    }
  }
};

// Adds the product of a box to the sums. `row` is the address of the lane's first row of the input, and `last` that of its
// row in the last eight. kPartial: the input ends after `deep` elements. The weights beyond are zeros; the input's must be too.
template <int kEights, bool kPartial, class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void multiply_box(float (&sums)[kEights][4], const WeightReader<kLayout>& weights,
                                             uint32_t box, uint32_t row, uint32_t last, int deep) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int chunk = half * 4 + static_cast<int>(threadIdx.x % 32) / 8, chunks = deep / kChunk;
    const uint32_t own = (kPartial ? min(chunk, chunks - 1) : chunk) * 16;
    uint32_t b[kEights][4], a[4];
#pragma unroll
    for (int j = 0; j < kEights; ++j) {
      ldmatrix_x4(b[j], (j < kEights - 1 ? row + j * 8 * Tile::kRowBytes : last) + own);
      if constexpr (kPartial) {
#pragma unroll
        for (int i = 0; i < 4; ++i) b[j][i] = half * 4 + i < chunks ? b[j][i] : 0;
      }
    }
#pragma unroll
    for (int quarter = 0; quarter < 2; ++quarter) {
      weights.read(a, box, half * 2 + quarter);
#pragma unroll
      for (int j = 0; j < kEights; ++j) {
        const uint32_t columns[2] = {b[j][quarter * 2], b[j][quarter * 2 + 1]};
        mma_m16n8k16<T>(sums[j], a, columns);
      }
    }
  }
}

// A warp's sums for a tile, over the whole depth.
template <int kEights, class Tile, WeightLayout kLayout, class T>
__device__ __forceinline__ void multiply_tile(float (&sums)[kEights][4], const WeightReader<kLayout>& weights,
                                              uint32_t ring, RingPlace<Tile>& place, int depth, int rows) {
  const int lane = threadIdx.x % 32;
  const int eight = lane % 8, last_row = min((kEights - 1) * 8 + eight, rows - 1);  // missing rows read the last one
#pragma unroll
  for (int j = 0; j < kEights; ++j) sums[j][0] = sums[j][1] = sums[j][2] = sums[j][3] = 0.0f;
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
#pragma unroll
    for (int b = 0; b < Tile::kBoxes; ++b) {
      const uint32_t box = ring + place.stage * Tile::kWeightBytes + b * Tile::kBoxBytes;
      const uint32_t first =
          ring + Tile::kRows + place.stage * Tile::kBM * Tile::kRowBytes + b * Tile::kBoxDepth * 2;
      const uint32_t row = first + eight * Tile::kRowBytes, last = first + last_row * Tile::kRowBytes;
      const int deep = depth - k - b * Tile::kBoxDepth;
      if (deep >= Tile::kBoxDepth) {
        multiply_box<kEights, false, Tile, kLayout, T>(sums, weights, box, row, last, Tile::kBoxDepth);
      } else if (deep > 0) {
        multiply_box<kEights, true, Tile, kLayout, T>(sums, weights, box, row, last, deep);
      }
    }
    __syncwarp();
    if (lane == 0) mbarrier_arrive(ring + Tile::kEmpty + place.stage * 8);
    place.next();
  }
}

// Calls `use` with the number of eights of rows, at most kMaximum, as a compile-time constant.
template <int kEights, int kMaximum, class Use>
__device__ __forceinline__ void with_eights(int eights, const Use& use) {
  if constexpr (kEights < kMaximum) {
    if (eights > kEights) return with_eights<kEights + 1, kMaximum>(eights, use);
  }
  use(std::integral_constant<int, kEights>{});
}

// The kernel. `Epilogue<layout, gated, T>` stores a warp's sums, [eights of rows][4].
template <class Tile, WeightLayout kLayout, template <WeightLayout, bool, class> class Epilogue, class T>
__device__ __forceinline__ void stream_layer(const StreamArguments<T>& a) {
  unsigned char* const smem = dynamic_smem();
  const uint32_t ring = shared_address(smem);
  const int warp = threadIdx.x / 32;
  if (threadIdx.x == 0) {
    prefetch_tensor_map(a.gate_up_weights);
    prefetch_tensor_map(a.down_weights);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(ring + Tile::kFull + s * 8, 2);  // both copying warps
      mbarrier_init(ring + Tile::kEmpty + s * 8, Tile::kConsumers);
    }
    for (int s = 0; s < Tile::kSlots; ++s) mbarrier_init(ring + Tile::kTaken + s * 8, 1);
    fence_async_proxy();
  }
  if (a.ready) {
    see_older_kernels();
  } else {
    follow_previous_kernel();
  }
  const int first =
      threadIdx.x == Tile::kConsumers * 32 ? take(a, static_cast<int>(blockIdx.x) - static_cast<int>(gridDim.x)) : 0;
  BlockSort sort(smem + Tile::kSort, a.experts);
  if (a.indices) {
    sort.count<Tile::kThreads, Tile::kBM>(a.indices, a.assignments, a.experts);
  } else {
    __syncthreads();
  }
  const StreamTiles<Tile> tiles(a, a.indices ? sort.row_offsets : a.row_offsets,
                                a.indices ? sort.tile_offsets : a.tile_offsets);
  auto* const slots = reinterpret_cast<typename Tile::Slot*>(smem + Tile::kSlotsAt);
  if (a.ready && warp != Tile::kConsumers) follow_previous_kernel();  // the weights do not depend on that kernel
  if (warp == Tile::kConsumers) {
    take_tiles<Tile, kLayout>(a, tiles, ring, slots, first);
  } else if (warp == Tile::kConsumers + 1) {
    copy_rows<Tile>(a, tiles, sort, ring, slots);
  } else {
    constexpr WeightLayout kDown = kDownLayout<kLayout>;
    const WeightReader<kLayout> gate_up_reader(warp, threadIdx.x % 32);
    const WeightReader<kDown> down_reader(warp, threadIdx.x % 32);
    RingPlace<Tile> place;
    for (Place<Tile::kSlots> slot;; slot.next()) {
      mbarrier_wait(ring + Tile::kTaken + slot.index * 8, slot.round);
      const int* const positions = slots[slot.index].positions;
      const float* const scales = slots[slot.index].scales;
      const int ticket = slots[slot.index].ticket;
      if (ticket >= tiles.count) return;
      const StreamPosition own = tiles.locate(ticket);
      with_eights<1, Tile::kBM / 8>((own.rows + 7) / 8, [&](auto eights) {
        float sums[eights.value][4];
        if (own.down) {
          multiply_tile<eights.value, Tile, kDown, T>(sums, down_reader, ring, place, a.intermediate, own.rows);
          const Epilogue<kDown, false, T> store{a.down_bias, a.out, nullptr, tiles.down.columns, a.activation};
          store(sums, own.at, positions, own.rows);
        } else {
          multiply_tile<eights.value, Tile, kLayout, T>(sums, gate_up_reader, ring, place, a.hidden, own.rows);
          const Epilogue<kLayout, true, T> store{a.gate_up_bias, a.activations, a.row_scales ? scales : nullptr,
                                                 tiles.gate_up.columns, a.activation};
          store(sums, own.at, positions, own.rows);
          if (a.products == 3) announce(a.counters + 1 + own.row_tile);
        }
      });
    }
  }
}

}  // namespace yamoe
