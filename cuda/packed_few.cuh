// A layer's two products with packed weights and few rows for each expert, for Hopper, in one kernel. It also sorts the
// assignments, unless they are sorted already, and gathers the hidden states. A tile is a strip of 64 weight rows (outputs)
// by up to kFewRows input rows of one expert.
//
// In a block, a warpgroup multiplies with mma.sync. One warp takes tickets and copies the weights of their tiles. Another one
// copies the input rows. They synchronize with three mbarriers per stage of the ring: "taken" completes when the stage is
// free and its tile is known, "full" with the last byte of the stage, and "empty" with the last read of it. "placed" completes
// when the order of the rows is written. A last warp announces the results of gate_up, because a fence takes a microsecond:
// "stored" completes when all warps have stored a tile, and "told" when the announcing warp knows which.
//
// gate_up's tiles have earlier tickets than down's. So a tile of down waits only for tiles that running blocks have taken,
// and while it waits, the ring fills with its weights. An element's sum is computed in ascending order of the depth.
#pragma once
#include <ptx_announce.cuh>

#include "block_sort.cuh"
#include "packed_epilogue.cuh"
#include "packed_warps.cuh"

namespace yamoe {

constexpr int kFewRows = 16;

struct PackedFewArguments {
  PackedProduct gate_up, down;  // their inputs and outputs are rows
  const int* indices;           // [assignments]: the expert of each; null if they are sorted already
  const int* row_offsets;       // [experts + 1]: the first row of each expert, if they are sorted
  const int* tile_offsets;      // [experts + 1]: the first row tile of each expert, if they are sorted
  const int* row_tokens;        // [rows]: the token of each row, if they are sorted
  const float* row_scales;      // [assignments], or [rows] if they are sorted; null: 1
  int* counters;                // zeros, also afterwards: tickets, finished blocks, announcements of each row tile
  Activation activation;
  int experts, assignments, top_k;
  int split;                // whether the biases have all gates before all up values
  int stages, stage_bytes;  // of the ring
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr int kFewMultiplying = 128, kFewThreads = kFewMultiplying + 96, kFewBlocks = 4;
constexpr int kFewDeep = 4;                     // steps in a stage
constexpr int kFewPitch = kFewDeep * 128 + 16;  // of the rows of a stage: ldmatrix has no bank conflicts
constexpr int kFewHeader = 512;                 // bytes before the ring: a slot for each tile in it, and the barriers
constexpr int kTickets = 0, kFinished = 1, kAnnounced = 2;  // in `counters`; the last: of the first row tile

// The most slots in use are one more than stages, because a tile's epilogue follows the last read of its stages.
constexpr int kFewSlots = 8;

static_assert(kFewSlots * (24 + sizeof(PackedPosition)) + 32 <= kFewHeader, "the header is too small");

// The sort of a block, with the assignments of each expert one after the other. Those of an expert with one tile may have any
// order, because a row's results do not depend on its position in the tile. The others have the same order in all blocks.
struct FewSort : BlockSort {
  int* next;              // [experts]: the row of each expert that is placed next
  unsigned short* order;  // [assignments]

  __device__ __forceinline__ FewSort(unsigned char* memory, int experts, int assignments)
      : BlockSort(memory, experts),
        next(reinterpret_cast<int*>(this->experts + padded(assignments))),
        order(reinterpret_cast<unsigned short*>(next + experts)) {}

  // Copies the offsets of sorted assignments, or counts assignments after `clear`. Called by all threads; after it the block has
  // synchronized.
  __device__ __forceinline__ void prepare(const PackedFewArguments& a) {
    if (a.indices) {
      count<kFewThreads, kFewRows>(a.indices, a.assignments, a.experts);
      for (int e = threadIdx.x; e < a.experts; e += kFewThreads) next[e] = row_offsets[e];
    } else {
      for (int e = threadIdx.x; e <= a.experts; e += kFewThreads) {
        row_offsets[e] = a.row_offsets[e];
        tile_offsets[e] = a.tile_offsets[e];
      }
    }
    __syncthreads();
  }

  // Writes the order. Called by kWarps warps, with the number of each.
  template <int kWarps>
  __device__ __forceinline__ void place(const PackedFewArguments& a, int warp) {
    const auto rows_of = [&](int expert) { return row_offsets[expert + 1] - row_offsets[expert]; };
#pragma unroll 4
    for (int i = warp * 32 + threadIdx.x % 32; i < a.assignments; i += kWarps * 32) {
      const int expert = experts[i];
      if (expert != kNoExpert && rows_of(expert) <= kFewRows) {
        order[atomicAdd(&next[expert], 1)] = static_cast<unsigned short>(i);
      }
    }
    const int lane = threadIdx.x % 32;
    for (int e = warp; e < a.experts; e += kWarps) {
      if (rows_of(e) <= kFewRows) continue;
      int row = row_offsets[e];
#pragma unroll 4
      for (int i = lane; i < padded(a.assignments); i += 32) {
        const unsigned lanes = __ballot_sync(kFullWarp, experts[i] == e);
        if (experts[i] == e) order[row + __popc(lanes & ((1u << lane) - 1))] = static_cast<unsigned short>(i);
        row += __popc(lanes);
      }
    }
  }

  // The number of a row in the output, the activations and row_scales.
  __device__ __forceinline__ int number_of(const PackedFewArguments& a, int row) const { return a.indices ? order[row] : row; }
};

// Bytes in shared memory: the header, the stages, and the sort. A stage has rows, blocks of weights, and row scales.
template <class Format_>
struct FewRing {
  using Format = Format_;
  static constexpr int kDeep = kFewDeep, kRowStep = 128;
  uint32_t base;
  int stages, stage_bytes;

  __device__ __forceinline__ uint32_t full(int stage) const { return base + stage * 24; }
  __device__ __forceinline__ uint32_t empty(int stage) const { return base + stage * 24 + 8; }
  __device__ __forceinline__ void release(int stage) const {
    fence_async_proxy();  // the loads are complete before the next bulk copy, as in stream_multiply.cuh
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(empty(stage));
  }
  __device__ __forceinline__ uint32_t taken(int stage) const { return base + stage * 24 + 16; }
  __device__ __forceinline__ uint32_t placed() const { return base + kFewHeader - 8; }
  __device__ __forceinline__ uint32_t stored() const { return base + kFewHeader - 16; }
  __device__ __forceinline__ uint32_t told() const { return base + kFewHeader - 24; }
  __device__ __forceinline__ uint32_t rows(int stage) const { return base + kFewHeader + stage * stage_bytes; }
  __device__ __forceinline__ uint32_t weights(int stage) const { return rows(stage) + kFewRows * kFewPitch; }
  __device__ __forceinline__ uint32_t row_scales(int stage, int block_bytes) const { return weights(stage) + kDeep * block_bytes; }
  static __device__ __forceinline__ uint32_t chunk(int row, int c) { return row * kFewPitch + c * 16; }
};

// The tiles in the order of their tickets.
struct FewTiles {
  const PackedFewArguments& arguments;
  const FewSort& sort;
  int up_strips, down_strips;
  int ups, count;

  __device__ __forceinline__ FewTiles(const PackedFewArguments& a, const FewSort& s)
      : arguments(a),
        sort(s),
        up_strips(ceil_div(a.gate_up.width, kBlockRows)),
        down_strips(ceil_div(a.down.width, kBlockRows)),
        ups(s.tile_offsets[a.experts] * up_strips),
        count(ups + s.tile_offsets[a.experts] * down_strips) {}

  __device__ __forceinline__ PackedPosition locate(int ticket) const {
    const bool down = ticket >= ups;
    const int strips = down ? down_strips : up_strips, own = down ? ticket - ups : ticket;
    const int row_tile = own / strips;
    int expert = 0;
    for (int end = arguments.experts; end - expert > 1;) {
      const int middle = (expert + end) / 2;
      if (sort.tile_offsets[middle] <= row_tile) {
        expert = middle;
      } else {
        end = middle;
      }
    }
    const int row = sort.row_offsets[expert] + (row_tile - sort.tile_offsets[expert]) * kFewRows;
    return {down, row_tile, expert, own % strips, row, min(kFewRows, sort.row_offsets[expert + 1] - row)};
  }
};

// One warp takes tickets and copies the weights of their tiles: each lane those of one step of a stage, and one more the row scales.
template <class Format>
__device__ __forceinline__ void take_tiles(const FewTiles& tiles, const FewRing<Format>& ring, PackedPosition* slots, int next) {
  const PackedFewArguments& a = tiles.arguments;
  const int lane = threadIdx.x % 32;
  PackedPlace place;
  for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
    const int ticket = __shfl_sync(kFullWarp, next, 0);
    if (ticket >= tiles.count) {
      if (lane > 0) return;
      mbarrier_wait(ring.empty(place.stage), place.round ^ 1);
      slots[slot] = {false, 0, -1, 0, 0, 0};
      mbarrier_arrive(ring.taken(place.stage));
      mbarrier_arrive(ring.full(place.stage));
      return;
    }
    if (lane == 0) next = atomicAdd(a.counters + kTickets, 1);  // early: see cuda/LADDER.md
    const PackedPosition at = tiles.locate(ticket);
    const PackedProduct& p = at.down ? a.down : a.gate_up;
    const int steps = ceil_div(p.depth, kBlockDepth), groups = ceil_div(p.width, kStrips * kBlockRows);
    const uint32_t bytes = p.block_bytes;
    const size_t group = static_cast<size_t>(at.expert) * groups + at.strip / kStrips;
    const unsigned char* from = static_cast<const unsigned char*>(p.weights) +
                                ((group * steps + lane) * kStrips + at.strip % kStrips) * bytes;
#pragma unroll 1
    for (int left = steps; left > 0; left -= kFewDeep) {
      const int count = min(left, kFewDeep);
      const uint32_t scale_bytes = has_row_scales<Format>(p) && left == steps ? kRowScaleBytes : 0;
      mbarrier_wait(ring.empty(place.stage), place.round ^ 1);
      if (lane == 0) {
        if (left == steps) slots[slot] = at;
        mbarrier_arrive(ring.taken(place.stage));
        mbarrier_arrive_expecting(ring.full(place.stage), count * bytes + scale_bytes);
      }
      __syncwarp();
      if (lane < count) bulk_copy_once(ring.weights(place.stage) + lane * bytes, from, bytes, ring.full(place.stage));
      if (scale_bytes > 0 && lane == kFewDeep) {
        const unsigned char* const scales = row_scales<Format>(p, a.experts, at);
        bulk_copy_once(ring.row_scales(place.stage, bytes), scales, scale_bytes, ring.full(place.stage));
      }
      from += kFewDeep * kStrips * bytes;
      place.next(ring.stages);
    }
  }
}

// One warp copies the input rows of the tiles: each lane one row.
template <class Format>
__device__ __forceinline__ void copy_few_rows(const FewTiles& tiles, const FewRing<Format>& ring,
                                              const PackedPosition* slots) {
  const PackedFewArguments& a = tiles.arguments;
  const int lane = threadIdx.x % 32;
  PackedPlace place;
  for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
    mbarrier_wait(ring.taken(place.stage), place.round);
    const PackedPosition at = slots[slot];
    if (at.expert < 0) break;
    const PackedProduct& p = at.down ? a.down : a.gate_up;
    const unsigned char* from = static_cast<const unsigned char*>(p.input);
    if (lane < at.rows) {
      const int number = tiles.sort.number_of(a, at.row + lane);
      const int row = at.down ? number : a.indices ? number / a.top_k : a.row_tokens[number];
      from += static_cast<size_t>(row) * p.depth * 2;
    }
    if (at.down) wait_for_announcements(a.counters + kAnnounced + at.row_tile, tiles.up_strips);
#pragma unroll 1
    for (int left = p.depth; left > 0; left -= kFewDeep * kBlockDepth) {
      const int columns = min(left, kFewDeep * kBlockDepth);
      if (left < p.depth) mbarrier_wait(ring.taken(place.stage), place.round);
      const uint32_t to = ring.rows(place.stage) + ring.chunk(lane, 0), full = ring.full(place.stage);
      if (columns % kBlockDepth && lane < at.rows) {  // the missing columns of the last step are zeros
        for (int c = columns; c % kBlockDepth; c += 8) {
          *reinterpret_cast<uint4*>(dynamic_smem() + (to - ring.base) + c * 2) = make_uint4(0, 0, 0, 0);
        }
        fence_async_proxy();
      }
      __syncwarp();
      if (lane == 0) mbarrier_arrive_expecting(full, at.rows * columns * 2);
      __syncwarp();
      if (lane < at.rows) bulk_copy(to, from, columns * 2, full);
      from += kFewDeep * kBlockDepth * 2;
      place.next(ring.stages);
    }
  }
  if (lane == 0) mbarrier_arrive(ring.full(place.stage));

  // No tile of the block waits any more. The last block makes the counters zeros again.
  const int blocks = static_cast<int>(gridDim.x);
  const int before = lane == 0 ? atomicAdd(a.counters + kFinished, 1) : 0;
  if (__shfl_sync(kFullWarp, before, 0) < blocks - 1) return;
  if (lane == 0) {
    atomicAdd(a.counters + kTickets, -tiles.count - blocks);  // each block has taken one ticket too many
    atomicAdd(a.counters + kFinished, -blocks);
  }
  for (int i = lane; i < tiles.sort.tile_offsets[a.experts]; i += 32) {
    atomicAdd(a.counters + kAnnounced + i, -tiles.up_strips);
  }
}

// One warp announces the tiles of gate_up that the multiplying warps have stored, until it receives a negative row tile.
template <class Format>
__device__ __forceinline__ void announce_tiles(const PackedFewArguments& a, const FewRing<Format>& ring, const int* stored_tile) {
  for (uint32_t round = 0;; round ^= 1) {
    mbarrier_wait(ring.stored(), round);
    __syncwarp();  // a lane that is late must not miss the phase: the next one can complete after "told"
    int row_tile = 0;
    if (threadIdx.x % 32 == 0) {
      row_tile = *stored_tile;
      mbarrier_arrive(ring.told());
    }
    row_tile = __shfl_sync(kFullWarp, row_tile, 0);
    if (row_tile < 0) return;
    announce(a.counters + kAnnounced + row_tile);
  }
}

// The kernel. It calls `epilogue(sums, product, position, row_of)` with a warpgroup's sums, [rows / 8][4].
template <class Format, class Epilogue>
__device__ __forceinline__ void packed_few(const PackedFewArguments& a, const Epilogue& epilogue) {
  unsigned char* const smem = dynamic_smem();
  const FewRing<Format> ring{shared_address(smem), a.stages, a.stage_bytes};
  PackedPosition* const slots = reinterpret_cast<PackedPosition*>(smem + kFewSlots * 24);
  if (threadIdx.x == 0) {
    for (int s = 0; s < a.stages; ++s) {
      mbarrier_init(ring.full(s), 2);
      mbarrier_init(ring.empty(s), kFewMultiplying / 32);
      mbarrier_init(ring.taken(s), 1);
    }
    mbarrier_init(ring.placed(), kFewThreads - 32);
    mbarrier_init(ring.stored(), kFewMultiplying / 32);
    mbarrier_init(ring.told(), 1);
    fence_async_proxy();
  }
  FewSort sort(smem + kFewHeader + a.stages * a.stage_bytes, a.experts, a.assignments);
  if (a.indices) sort.clear<kFewThreads>(a.experts);
  follow_previous_kernel();
  const int first = threadIdx.x == kFewMultiplying ? atomicAdd(a.counters + kTickets, 1) : 0;
  sort.prepare(a);

  const FewTiles tiles(a, sort);
  constexpr int kWeightsWarp = kFewMultiplying / 32, kRowsWarp = kWeightsWarp + 1, kWarps = kFewThreads / 32;
  const int warp = threadIdx.x / 32;
  if (warp == kWeightsWarp) return take_tiles(tiles, ring, slots, first);
  if (a.indices) {
    sort.place<kWarps - 1>(a, warp - (warp > kWeightsWarp));
    mbarrier_arrive(ring.placed());
  }
  int* const stored_tile = reinterpret_cast<int*>(smem + kFewHeader - 32);
  if (warp == kRowsWarp) {
    if (a.indices) mbarrier_wait(ring.placed(), 0);
    return copy_few_rows(tiles, ring, slots);
  }
  if (warp > kRowsWarp) return announce_tiles(a, ring, stored_tile);

  uint32_t round = 0;
  const auto stored = [&](int row_tile) {
    mbarrier_wait(ring.told(), round ^ 1);
    if (threadIdx.x == 0) *stored_tile = row_tile;
    __syncwarp();
    if (threadIdx.x % 32 == 0) mbarrier_arrive(ring.stored());
    round ^= 1;
  };
  PackedPlace place;
  for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
    mbarrier_wait(ring.full(place.stage), place.round);
    const PackedPosition at = slots[slot];
    if (at.expert < 0) break;
    const PackedProduct& p = at.down ? a.down : a.gate_up;
    float sums[kFewRows / 8][4];
    if (at.rows <= 8) {
      multiply_by_warps<1>(sums, p, ring, place, at.rows);
    } else {
      multiply_by_warps<kFewRows / 8>(sums, p, ring, place, at.rows);
    }
    epilogue(sums, p, at, [&](int row) { return sort.number_of(a, at.row + row); });
    if (!at.down) stored(at.row_tile);
  }
  stored(-1);
}

#endif

}  // namespace yamoe
