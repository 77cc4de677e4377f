// Both products of a layer for few rows per expert on Hopper, in one kernel. With few rows the time is that of reading the
// weights, so the kernel only has to keep enough copies in flight on every multiprocessor.
//
// A tile is kBN columns by up to kBM rows. The operands of mma.sync are swapped: the weights' columns are its 16 rows, and
// the input's rows are its 8 columns, so few rows waste little. A tile computes only as many rows, in eights, as there are.
//
// A block has four warps that multiply, 16 columns each; one that copies weights, in boxes of a tensor map; and one that
// copies the input's rows with cp.async: a bulk copy of each row would take longer, because a warp issues bulk copies one
// after another. They synchronize with two mbarriers per stage of the ring:
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
#include <ptx_announce.cuh>

#include "block_sort.cuh"
#include "stream_multiply.cuh"
#include "stream_tiles.cuh"

namespace yamoe {

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
  RingPlace<typename Tile::Slots> slot;
  for (;;) {
    const int ticket = __shfl_sync(0xffffffffu, next, 0);
    if (leads) {
      slots[slot.stage].ticket = ticket;
      mbarrier_arrive(ring + Tile::kTaken + slot.stage * 8);
    }
    if (ticket >= tiles.count) {
      // Each block takes one ticket too many. The last of them lets the tickets begin again.
      const int taken = tiles.count + static_cast<int>(gridDim.x);
      if (leads && a.products == 3 && ticket == taken - 1) atomicAdd(a.counters, -taken);
      return;
    }
    const StreamPosition own = tiles.locate(ticket);
    if (leads) {
      if (own.down) {
        copy_weights<Tile, kDownLayout<kLayout>>(a.down_weights, ring, place, a.intermediate, own.at.column,
                                                 own.at.expert);
      } else {
        copy_weights<Tile, kLayout>(a.gate_up_weights, ring, place, a.hidden,
                                    a.split ? own.at.column / 2 : own.at.column, own.at.expert);
      }
      next = take(a, ticket);  // not before: a block that has to wait must not hold a tile that another could begin
    }
    slot.next();
  }
}

// One warp copies the input's rows, 16 bytes per lane. It also writes the positions and scales of the rows to the slot.
template <class Tile, class T>
__device__ __forceinline__ void copy_rows(const StreamArguments<T>& a, const StreamTiles<Tile>& tiles,
                                          const BlockSort& sort, uint32_t ring, typename Tile::Slot* slots) {
  constexpr int kLanes = Tile::kBK * 2 / 16, kRowsAtOnce = 32 / kLanes;  // lanes for a row's part of a step
  const int lane = threadIdx.x % 32, column = lane % kLanes * kChunk;
  RingPlace<Tile> place;
  RingPlace<typename Tile::Slots> slot;
  for (;; slot.next()) {
    mbarrier_wait(ring + Tile::kTaken + slot.stage * 8, slot.round);
    int* const positions = slots[slot.stage].positions;
    float* const scales = slots[slot.stage].scales;
    const int ticket = slots[slot.stage].ticket;
    if (ticket >= tiles.count) return;
    const StreamPosition own = tiles.locate(ticket);
    if (a.indices) {
      sort.find(own.at.expert, own.at.row - sort.row_offsets[own.at.expert], own.rows, positions);
    } else {
      if (lane < own.rows) positions[lane] = own.at.row + lane;
      __syncwarp();
    }
    const T* const from = own.down ? a.activations : a.hidden_states;
    const int depth = own.down ? a.intermediate : a.hidden;
    int own_row = 0;  // each lane knows one row
    if (lane < own.rows) {
      const int position = positions[lane];
      if (!own.down && a.row_scales) scales[lane] = a.row_scales[position];
      own_row = own.down ? position : a.indices ? position / a.top_k : a.row_index[position];
    }
    if (own.down && a.products == 3) {
      int* const counter = a.counters + 1 + own.row_tile;
      wait_for_announcements(counter, tiles.announcements);
      __syncwarp();
      // Tiles of down count too, so that the last one knows that nobody waits any more.
      const int all = tiles.announcements + tiles.down_columns;
      if (lane == 0 && atomicAdd(counter, 1) == all - 1) atomicAdd(counter, -all);
    } else if (a.ready) {
      wait_for_previous_kernel();
    }
    for (int k = 0; k < depth; k += Tile::kBK) {
      const uint32_t to = ring + Tile::kRows + place.stage * Tile::kBM * Tile::kRowBytes + column * 2;
      mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
#pragma unroll 4
      for (int first = 0; first < own.rows; first += kRowsAtOnce) {
        const int i = first + lane / kLanes;
        const size_t row = __shfl_sync(kFullWarp, own_row, i % 32);
        if (i < own.rows && k + column < depth) {
          cp_async_16(to + i * Tile::kRowBytes, from + row * depth + k + column, 16);
        }
      }
      __syncwarp();  // the slot is complete
      if (lane == 0) mbarrier_arrive(ring + Tile::kFull + place.stage * 8);
      cp_async_arrive(ring + Tile::kFull + place.stage * 8);
      place.next();
    }
  }
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
      mbarrier_init(ring + Tile::kFull + s * 8, 2 + 32);  // both copying warps, and the copies of each lane
      mbarrier_init(ring + Tile::kEmpty + s * 8, Tile::kConsumers);
    }
    for (int s = 0; s < Tile::Slots::kStages; ++s) mbarrier_init(ring + Tile::kTaken + s * 8, 1);
    fence_async_proxy();
  }
  BlockSort sort(smem + Tile::kSort, a.experts);
  if (a.indices) sort.clear<Tile::kThreads>(a.experts);
  if (a.ready) {
    see_older_kernels();
  } else {
    follow_previous_kernel();
  }
  const int first =
      threadIdx.x == Tile::kConsumers * 32 ? take(a, static_cast<int>(blockIdx.x) - static_cast<int>(gridDim.x)) : 0;
  if (a.indices) {
    sort.count<Tile::kThreads, Tile::kBM>(a.indices, a.assignments, a.experts, a.capacity);
  } else {
    __syncthreads();
  }
  const StreamTiles<Tile> tiles(a, a.indices ? sort.row_offsets : a.row_offsets,
                                a.indices ? sort.tile_offsets : a.tile_offsets);
  auto* const slots = reinterpret_cast<typename Tile::Slot*>(smem + Tile::kSlotsAt);
  if (a.ready && warp < Tile::kConsumers) follow_previous_kernel();  // only the input's rows depend on that kernel
  if (warp == Tile::kConsumers) {
    take_tiles<Tile, kLayout>(a, tiles, ring, slots, first);
  } else if (warp == Tile::kConsumers + 1) {
    copy_rows<Tile>(a, tiles, sort, ring, slots);
  } else {
    constexpr WeightLayout kDown = kDownLayout<kLayout>;
    const WeightReader<kLayout> gate_up_reader(warp, threadIdx.x % 32);
    const WeightReader<kDown> down_reader(warp, threadIdx.x % 32);
    RingPlace<Tile> place;
    for (RingPlace<typename Tile::Slots> slot;; slot.next()) {
      mbarrier_wait(ring + Tile::kTaken + slot.stage * 8, slot.round);
      const int* const positions = slots[slot.stage].positions;
      const float* const scales = slots[slot.stage].scales;
      const int ticket = slots[slot.stage].ticket;
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
