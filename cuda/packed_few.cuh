// A layer's two products with packed weights and few rows for each expert, for Hopper, in one kernel. It also sorts the
// assignments, or reads those that are sorted already, and gathers the hidden states. A tile is a strip of 64 weight rows
// (outputs) by up to kFewRows input rows of one expert.
//
// In a block, a warpgroup multiplies with mma.sync. One thread takes tiles in order from a counter of all blocks and copies
// their weights. One warp copies the input rows. They synchronize with three mbarriers per stage of the ring: "taken"
// completes when the stage is free and its tile is known, "full" with the last byte of the stage, and "empty" with the last
// read of it.
//
// gate_up's tiles precede down's. So a tile of down waits only for tiles that running blocks have taken before, and while it
// waits, the ring fills with its weights.
//
// An element's sum is computed in ascending order of the depth, as in the other products.
#pragma once
#include "packed_epilogue.cuh"

namespace yamoe {

constexpr int kFewRows = 16;
constexpr int kFewTiles = 4096;  // the most row tiles of a call

struct PackedFewArguments {
  PackedProduct gate_up, down;  // the input and the output of both are rows
  const int* indices;           // [assignments]: the expert of each; null if the assignments are sorted already
  int* rows;                    // out, unless they are sorted: [assignments]: the row of each, or -1
  const int* row_offsets;       // [experts + 1]: the first row of each expert, if they are sorted
  const int* row_tokens;        // [rows]: the token of each row, if they are sorted
  const float* row_scales;      // [assignments], or [rows] if they are sorted; null: 1
  Activation activation;
  int experts, assignments, top_k, capacity;
  int split;                // whether the biases have all gates before all up values
  int stages, stage_bytes;  // of the ring
  int products;
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr int kFewDeep = 4;  // steps in a stage
constexpr int kFewThreads = 192, kFewMultiplying = 128, kFewBlocks = 4;
constexpr int kFewSlots = 8;   // more than stages, as the tile before those in the ring may still be in its epilogue
constexpr int kFewPitch = kFewDeep * 128 + 16;  // of the rows of a stage: ldmatrix has no bank conflicts
constexpr int kFewFull = 0, kFewEmpty = kFewSlots * 8, kFewTaken = kFewSlots * 16;  // the barriers
constexpr int kFewHeader = 896;  // bytes before the ring
constexpr unsigned short kNoExpert = 0xffff;

// What all blocks of a launch share: zeros between launches.
struct FewQueue {
  int next;   // tile
  int ended;  // blocks
  int finished[kFewTiles];  // the warps that have stored gate_up's results of a row tile
};
YAMOE_DEVICE_VARIABLE FewQueue few_queue;

// A tile in the ring.
struct FewSlot {
  PackedPosition at;      // the expert is -1 after the last tile
  int numbers[kFewRows];  // those of its rows in row_scales
};
static_assert(kFewSlots * (24 + sizeof(FewSlot)) <= kFewHeader);

template <class Format_>
struct FewRing {
  using Format = Format_;
  static constexpr int kDeep = kFewDeep, kRowStep = 128;  // bytes from one step to the next
  uint32_t base;
  int stages, stage_bytes;

  __device__ __forceinline__ uint32_t full(int stage) const { return base + kFewFull + stage * 8; }
  __device__ __forceinline__ uint32_t empty(int stage) const { return base + kFewEmpty + stage * 8; }
  __device__ __forceinline__ uint32_t taken(int stage) const { return base + kFewTaken + stage * 8; }
  __device__ __forceinline__ uint32_t rows(int stage) const { return base + kFewHeader + stage * stage_bytes; }
  __device__ __forceinline__ uint32_t weights(int stage) const { return rows(stage) + kFewRows * kFewPitch; }
  __device__ __forceinline__ uint32_t weight_step(const PackedProduct& p) const { return p.block_bytes; }
  static __device__ __forceinline__ uint32_t chunk(int row, int c) { return row * kFewPitch + c * 16; }
};

// The assignments of a block in shared memory.
struct FewAssignments {
  unsigned* table;          // [experts + 1]: rows << 16 | row tiles before each expert
  unsigned short* experts;  // [assignments]

  // Counts the rows and tiles of each expert. Called by all threads.
  __device__ __forceinline__ void count(const PackedFewArguments& a) const {
    for (int e = threadIdx.x; e <= a.experts; e += kFewThreads) table[e] = 0;
    __syncthreads();
    if (a.indices) {
      for (int i = threadIdx.x; i < a.assignments; i += kFewThreads) {
        const int expert = a.indices[i];
        const bool ok = static_cast<unsigned>(expert) < static_cast<unsigned>(a.experts);
        experts[i] = ok ? expert : kNoExpert;
        if (ok) {
          atomicAdd(&table[expert + 1], 1u);
        } else if (blockIdx.x == 0) {
          a.rows[i] = -1;
        }
      }
    } else {
      for (int e = threadIdx.x; e < a.experts; e += kFewThreads) table[e + 1] = a.row_offsets[e + 1] - a.row_offsets[e];
    }
    __syncthreads();
    if (threadIdx.x >= 32) return;
    const int lane = threadIdx.x, part = ceil_div(a.experts, 32), begin = lane * part + 1;
    const int end = min(begin + part, a.experts + 1);
    unsigned own = 0;
    for (int e = begin; e < end; ++e) {
      const unsigned kept = min(table[e], static_cast<unsigned>(a.capacity));
      own += kept << 16 | ceil_div(kept, kFewRows);
      table[e] = own;
    }
    unsigned sum = own;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const unsigned other = __shfl_up_sync(0xffffffffu, sum, distance);
      if (lane >= distance) sum += other;
    }
    for (int e = begin; e < end; ++e) table[e] += sum - own;
  }

  __device__ __forceinline__ int first_row(int expert) const { return table[expert] >> 16; }
  __device__ __forceinline__ int first_tile(int expert) const { return table[expert] & 0xffff; }

  // Finds the assignments of a tile's rows, and stores the row of each if the tile is the first of its rows. Called by a warp.
  __device__ __forceinline__ void find(const PackedFewArguments& a, FewSlot& slot) const {
    const PackedPosition at = slot.at;
    const int lane = threadIdx.x % 32, first = at.row - first_row(at.expert);
    const int kept = first_row(at.expert + 1) - first_row(at.expert);
    const bool stores = at.strip == 0, last = first + at.rows == kept;
    int before = -first;  // assignments of the expert, after the first row
    for (int base = 0; base < a.assignments && (before < at.rows || stores && last); base += 32) {
      const int i = base + lane;
      const bool own = i < a.assignments && experts[i] == at.expert;
      const unsigned lanes = __ballot_sync(0xffffffffu, own);
      const int row = before + __popc(lanes & ((1u << lane) - 1));
      if (own && row >= 0 && row < at.rows) slot.numbers[row] = i;
      if (own && stores && row >= 0 && (row < at.rows || last)) a.rows[i] = row < at.rows ? at.row + row : -1;
      before += __popc(lanes);
    }
  }
};

// One thread takes tiles and copies their weights.
template <class Format>
__device__ __forceinline__ void take_tiles(const PackedFewArguments& a, const FewAssignments& assignments,
                                           const FewRing<Format>& ring, FewSlot* slots) {
  const int up_strips = a.products & 1 ? ceil_div(a.gate_up.width, kBlockRows) : 0;
  const int down_strips = a.products & 2 ? ceil_div(a.down.width, kBlockRows) : 0;
  const int row_tiles = assignments.first_tile(a.experts), ups = row_tiles * up_strips;
  const int tiles = ups + row_tiles * down_strips;
  PackedPlace place;
  int next = atomicAdd(&few_queue.next, 1);
  for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
    const int index = next;
    if (index >= tiles) {
      mbarrier_wait(ring.empty(place.stage), place.round ^ 1);
      slots[slot].at.expert = -1;
      mbarrier_arrive(ring.taken(place.stage));
      mbarrier_arrive(ring.full(place.stage));
      return;
    }
    next = atomicAdd(&few_queue.next, 1);

    const bool down = index >= ups;
    const int strips = down ? down_strips : up_strips, own = down ? index - ups : index;
    const int row_tile = own / strips, strip = own % strips;
    int expert = 0;
    for (int end = a.experts; end - expert > 1;) {
      const int middle = (expert + end) / 2;
      if (assignments.first_tile(middle) <= row_tile) {
        expert = middle;
      } else {
        end = middle;
      }
    }
    const int row = assignments.first_row(expert) + (row_tile - assignments.first_tile(expert)) * kFewRows;
    const int rows = min(kFewRows, assignments.first_row(expert + 1) - row);

    const PackedProduct& p = down ? a.down : a.gate_up;
    const int steps = ceil_div(p.depth, kBlockDepth), groups = ceil_div(p.width, kStrips * kBlockRows);
    const uint32_t bytes = p.block_bytes;
    const unsigned char* from =
        static_cast<const unsigned char*>(p.weights) +
        ((static_cast<size_t>(expert) * groups + strip / kStrips) * steps * kStrips + strip % kStrips) * bytes;
#pragma unroll 1
    for (int left = steps; left > 0; left -= kFewDeep) {
      const int count = min(left, kFewDeep);
      mbarrier_wait(ring.empty(place.stage), place.round ^ 1);
      if (left == steps) slots[slot].at = {down, row_tile, expert, strip, row, rows};
      mbarrier_arrive(ring.taken(place.stage));
      const uint32_t full = ring.full(place.stage);
      mbarrier_arrive_expecting(full, count * bytes);
      for (int i = 0; i < count; ++i) {
        bulk_copy(ring.weights(place.stage) + i * bytes, from, bytes, full);
        from += kStrips * bytes;
      }
      place.next(ring.stages);
    }
  }
}

// One warp copies the input rows of the tiles that are taken. Each lane copies a row.
template <class Format>
__device__ __forceinline__ void copy_few_rows(const PackedFewArguments& a, const FewAssignments& assignments,
                                              const FewRing<Format>& ring, FewSlot* slots) {
  const int lane = threadIdx.x % 32, up_warps = ceil_div(a.gate_up.width, kBlockRows) * 4;
  PackedPlace place;
  for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
    mbarrier_wait(ring.taken(place.stage), place.round);
    const PackedPosition at = slots[slot].at;
    if (at.expert < 0) break;
    const PackedProduct& p = at.down ? a.down : a.gate_up;
    int row = at.row + lane;
    if (at.down) {
      if (a.products == 3) wait_for_announcements(few_queue.finished + at.row_tile, up_warps);
    } else if (a.indices) {
      assignments.find(a, slots[slot]);
      __syncwarp();
      row = lane < at.rows ? slots[slot].numbers[lane] / a.top_k : 0;
    } else if (lane < at.rows) {
      slots[slot].numbers[lane] = row;
      row = a.row_tokens[row];
    }
    const unsigned char* from = static_cast<const unsigned char*>(p.input) + static_cast<size_t>(row) * p.depth * 2;
#pragma unroll 1
    for (int left = p.depth; left > 0; left -= kFewDeep * kBlockDepth) {
      const int columns = min(left, kFewDeep * kBlockDepth);
      if (left != p.depth) mbarrier_wait(ring.taken(place.stage), place.round);
      const uint32_t to = ring.rows(place.stage) + ring.chunk(lane, 0), full = ring.full(place.stage);
      if (columns % kBlockDepth && lane < at.rows) {  // the missing columns of the last step
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

  // The last block has seen the last wait for the counters: it clears them for the next launch.
  int ended = 0;
  if (lane == 0) {
    see_older_kernels();
    ended = atomicAdd(&few_queue.ended, 1) + 1;
  }
  if (__shfl_sync(0xffffffffu, ended, 0) < static_cast<int>(gridDim.x)) return;
  for (int i = lane; i < assignments.first_tile(a.experts); i += 32) few_queue.finished[i] = 0;
  if (lane == 0) few_queue.next = few_queue.ended = 0;
}

// The kernel. It calls `epilogue(sums, product, position, scale_of)` with a warpgroup's sums, [rows / 8][4].
template <class Format, class Epilogue>
__device__ __forceinline__ void packed_few(const PackedFewArguments& a, const Epilogue& epilogue) {
  unsigned char* const smem = dynamic_smem();
  const FewRing<Format> ring{shared_address(smem), a.stages, a.stage_bytes};
  FewSlot* const slots = reinterpret_cast<FewSlot*>(smem + kFewSlots * 24);
  unsigned* const table = reinterpret_cast<unsigned*>(smem + kFewHeader + a.stages * a.stage_bytes);
  const FewAssignments assignments{table, reinterpret_cast<unsigned short*>(table + a.experts + 1)};
  if (threadIdx.x == 0) {
    for (int s = 0; s < a.stages; ++s) {
      mbarrier_init(ring.full(s), 2);
      mbarrier_init(ring.empty(s), kFewMultiplying / 32);
      mbarrier_init(ring.taken(s), 1);
    }
    fence_async_proxy();
  }
  follow_previous_kernel();
  assignments.count(a);
  __syncthreads();

  if (threadIdx.x >= kFewMultiplying + 32) {
    copy_few_rows(a, assignments, ring, slots);
  } else if (threadIdx.x == kFewMultiplying) {
    take_tiles(a, assignments, ring, slots);
  } else if (threadIdx.x < kFewMultiplying) {
    PackedPlace place;
    for (int slot = 0;; slot = (slot + 1) % kFewSlots) {
      mbarrier_wait(ring.full(place.stage), place.round);
      const PackedPosition at = slots[slot].at;
      if (at.expert < 0) break;
      const PackedProduct& p = at.down ? a.down : a.gate_up;
      with_width(at.rows, [&](auto width) {
        float sums[decltype(width)::value / 8][4];
        multiply_by_warps(sums, p, ring, place, at.rows);
        epilogue(sums, p, at, [&](int row) { return a.row_scales[slots[slot].numbers[row]]; });
      }, std::integer_sequence<int, 8, kFewRows>{});
      if (!at.down) announce(few_queue.finished + at.row_tile);
    }
  }
}

#endif

}  // namespace yamoe
