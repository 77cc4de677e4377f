// The grouped GEMM with packed weights for Hopper. It decodes the weights in registers, as the first operand of wgmma. The
// second operand, in shared memory, are the rows of the input. A tile is three strips of 64 weight rows (outputs)
// by up to kMaxRows input rows of one expert.
//
// In a block, each strip has a warpgroup that multiplies. One thread copies weights and one copies input rows, in bulk. They
// synchronize with two mbarriers per stage of the ring: "full" completes with the last byte of a stage, and "empty" with the
// last read of it. The copies run ahead from one tile to the next. The thread that copies weights takes the tickets of the tiles
// and passes their positions to the others, so that these do not wait for the offsets of rows.
//
// The input is stored in panels: for every 64 columns, 128 bytes of each row, with the swizzle of wgmma. The swizzle uses a
// row's number within its expert. So the rows of a step are one bulk copy. packed_gather.cu gathers the hidden states into
// panels, and gate_up stores its results in panels for down.
//
// Each tile uses the narrowest multiplication that has all its rows. An element's sum is always computed in ascending order
// of the depth, as in warpgroup_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include "packed_warps.cuh"
#include "tickets.cuh"

namespace yamoe {

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

constexpr int kWarpRows = 16;  // multiplications with up to this many rows use mma.sync
constexpr int kBurstRows = 64;
constexpr int kPending = 2;    // wgmmas in flight while the next operand is decoded

// One thread copies the weights of all tiles of the block. When it has issued all copies of a tile, it takes a ticket.
template <class Tile>
__device__ __forceinline__ void copy_weights(const PackedTiles<Tile>& tiles, uint32_t ring) {
  using Format = typename Tile::Format;
  const PackedProduct& p = tiles.arguments.product;
  const int count = tiles.count();
  PackedPlace place;
  PackedPosition at = tiles.locate(blockIdx.x);
  pass_ticket<Tile>(0, at);
  for (uint32_t n = 1; at.rows > 0; ++n) {
    const int steps = ceil_div(p.depth, kBlockDepth), groups = ceil_div(p.width, kStrips * kBlockRows);
    const unsigned char* from =
        static_cast<const unsigned char*>(p.weights) +
        (static_cast<size_t>(at.expert) * groups + at.strip / kStrips) * steps * kStrips * p.block_bytes;
    const uint32_t bytes = kStrips * p.block_bytes;
    uint32_t scale_bytes = has_row_scales<Format>(p) ? kStrips * kRowScaleBytes : 0;  // of the first step
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
      const uint32_t full = ring + Tile::kFull + place.stage * 8;
      const uint32_t to = ring + Tile::kWeights + place.stage * Tile::kWeightBytes;
      mbarrier_arrive_expecting(full, bytes + scale_bytes);
      bulk_copy(to, from, bytes, full);
      if (scale_bytes > 0) {
        bulk_copy(to + bytes, row_scales<Format>(p, tiles.arguments.experts, at), scale_bytes, full);
        scale_bytes = 0;
      }
      from += bytes;
      place.next(Tile::kStages);
    }
    wait_for_previous_kernel();  // its tickets are those of the same counter
    at = tiles.locate(take_ticket(tiles.arguments.counters, count));
    pass_ticket<Tile>(n, at);
  }
}

// One thread copies the input rows of all tiles of the block.
template <class Tile>
__device__ __forceinline__ void copy_rows(const PackedTiles<Tile>& tiles, uint32_t ring) {
  const PackedArguments& a = tiles.arguments;
  const PackedProduct& p = a.product;
  PackedPlace place;
  PackedPosition at;
  for (uint32_t n = 0; (at = receive_ticket<Tile>(n)).rows > 0; ++n) {
    const int steps = ceil_div(p.depth, kBlockDepth);
    const unsigned char* from = static_cast<const unsigned char*>(p.input) + static_cast<size_t>(at.row) * 128;
#pragma unroll 1
    for (int step = 0; step < steps; ++step) {
      mbarrier_wait(ring + Tile::kEmpty + place.stage * 8, place.round ^ 1);
      const uint32_t full = ring + Tile::kFull + place.stage * 8;
      mbarrier_arrive_expecting(full, at.rows * 128);
      bulk_copy(ring + place.stage * Tile::kRowBytes, from, at.rows * 128, full);
      from += static_cast<size_t>(a.rows) * 128;
      place.next(Tile::kStages);
    }
  }
}

// The row scales of the thread's strip in a tile's first stage: see copy_weights.
template <class Tile>
__device__ __forceinline__ uint32_t row_scales_of(uint32_t ring, int stage, int block_bytes) {
  return ring + Tile::kWeights + stage * Tile::kWeightBytes + kStrips * block_bytes + threadIdx.x / 128 * kRowScaleBytes;
}

// A warpgroup's sums over the whole depth: 64 weight rows by 8 kEights input rows. Each of the four wgmmas of a step has its
// own operand registers. Those of the next wgmma are decoded while earlier ones are in flight.
template <class Tile, int kEights>
__device__ __forceinline__ void multiply_rolling(float (&sums)[kEights][4], const PackedProduct& p, uint32_t ring,
                                                 PackedPlace& place) {
  using Format = typename Tile::Format;
  const Format format(p.variant);
  const int steps = ceil_div(p.depth, kBlockDepth);
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  const uint32_t blocks = ring + Tile::kWeights + threadIdx.x / 128 * p.block_bytes;
  // All lanes: faster than one for each warp. No fence is needed: the wgmmas that are complete had what was loaded from the stage.
  const auto release = [&](int stage) { mbarrier_arrive(empty + stage * 8); };
  // The next step is loaded beside the current one if there are registers for both, or else after it is decoded.
  constexpr bool kAhead = kEights * 4 + Format::kRegisters * 2 <= 108;
  uint32_t operand[4][4];
  clear(sums);
  mbarrier_wait(full + place.stage * 8, place.round);
  typename Format::Packed packed = start_tile(format, row_scales_of<Tile>(ring, place.stage, p.block_bytes));
  format.load(blocks + place.stage * Tile::kWeightBytes, packed);
  typename Format::Packed next = packed;
  format.decode(packed, 0, operand[0]);
  int before = 0;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    const uint64_t rows = wgmma_descriptor(ring + place.stage * Tile::kRowBytes);
    const int current = place.stage;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      wgmma_fence();
      wgmma_registers<typename Format::T>(sums, operand[i], rows + i * 2);
      wgmma_commit();
      if (i == 0) place.next(Tile::kStages);
      if (i == (kAhead ? 1 : 3) && step + 1 < steps) {
        mbarrier_wait(full + place.stage * 8, place.round);
        format.load(blocks + place.stage * Tile::kWeightBytes, next);
      }
      wgmma_wait_groups<kPending>();
      if (i == kPending - 1 && step > 0) release(before);
      if (i == 3) packed = next;
      format.decode(packed, (i + 1) % 4, operand[(i + 1) % 4]);
    }
    before = current;
  }
  wgmma_wait_groups<0>();
  release(before);
  sums_are_complete<kEights>(sums);
}

// The same for few rows, whose wgmmas are short, with fewer instructions: all four wgmmas of a step are issued together,
// while the next step is decoded into other registers.
template <class Tile, int kEights>
__device__ __forceinline__ void multiply_in_bursts(float (&sums)[kEights][4], const PackedProduct& p, uint32_t ring,
                                                   PackedPlace& place) {
  using Format = typename Tile::Format;
  const Format format(p.variant);
  const int steps = ceil_div(p.depth, kBlockDepth);
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  const uint32_t blocks = ring + Tile::kWeights + threadIdx.x / 128 * p.block_bytes;
  uint32_t even[16], odd[16];
  PackedPlace ahead = place;  // of the step to issue next; `place` is the step to complete next
  int left = steps;                 // to issue
  clear(sums);
  mbarrier_wait(full + ahead.stage * 8, ahead.round);
  typename Format::Packed packed = start_tile(format, row_scales_of<Tile>(ring, ahead.stage, p.block_bytes));
  format.load(blocks + ahead.stage * Tile::kWeightBytes, packed);
  const auto issue = [&](uint32_t(&operand)[16]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) format.decode(packed, i, operand + i * 4);
    const uint64_t rows = wgmma_descriptor(ring + ahead.stage * Tile::kRowBytes);
    wgmma_fence();
#pragma unroll
    for (int i = 0; i < 4; ++i) wgmma_registers<typename Format::T>(sums, operand + i * 4, rows + i * 2);
    wgmma_commit();
    ahead.next(Tile::kStages);
    if (--left > 0) {
      mbarrier_wait(full + ahead.stage * 8, ahead.round);
      format.load(blocks + ahead.stage * Tile::kWeightBytes, packed);
    }
  };
  const auto release = [&] {  // without a fence, as above
    mbarrier_arrive(empty + place.stage * 8);
    place.next(Tile::kStages);
  };
  if (steps % 2 == 0) {
    issue(even);
    wgmma_wait_groups<0>();
    release();
  }
  issue(even);
#pragma unroll 1
  while (left > 0) {
    issue(odd);
    wgmma_wait_groups<1>();
    release();
    issue(even);
    wgmma_wait_groups<1>();
    release();
  }
  wgmma_wait_groups<0>();
  release();
  sums_are_complete<kEights>(sums);
}

// The ring of a tile as multiply_by_warps reads it.
template <class Tile>
struct PanelRing {
  using Format = typename Tile::Format;
  static constexpr int kDeep = 1, kRowStep = 0, stages = Tile::kStages;
  uint32_t base, strip;

  __device__ __forceinline__ uint32_t full(int stage) const { return base + Tile::kFull + stage * 8; }
  __device__ __forceinline__ void release(int stage) const {
    fence_async_proxy();  // the loads are complete before the next bulk copy, as in stream_multiply.cuh
    mbarrier_arrive(base + Tile::kEmpty + stage * 8);
  }
  __device__ __forceinline__ uint32_t rows(int stage) const { return base + stage * Tile::kRowBytes; }
  __device__ __forceinline__ uint32_t weights(int stage) const {
    return base + Tile::kWeights + stage * Tile::kWeightBytes + strip;
  }
  __device__ __forceinline__ uint32_t row_scales(int stage, int block_bytes) const {
    return row_scales_of<Tile>(base, stage, block_bytes);
  }
  static __device__ __forceinline__ uint32_t chunk(int row, int c) { return row * 128 + (c ^ row % 8) * 16; }
};

// The kernel. It calls `epilogue(sums, product, position, row_of)` with a warpgroup's sums, [rows / 8][4].
template <class Tile, class Epilogue>
__device__ __forceinline__ void packed_gemm(const PackedArguments& a, const Epilogue& epilogue) {
  unsigned char* const smem = dynamic_smem();
  const uint32_t ring = shared_address(smem);
  int* const table = reinterpret_cast<int*>(smem + Tile::kTable);
  if (threadIdx.x == 0) {
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(ring + Tile::kFull + s * 8, 2);
      mbarrier_init(ring + Tile::kEmpty + s * 8, Tile::kMultiplying);
    }
    for (int s = 0; s < Tile::kSlots; ++s) mbarrier_init(ring + Tile::kTaken + s * 8, 1);
    fence_async_proxy();
  } else if (threadIdx.x / 32 == Tile::kMultiplying / 32) {
    // The kernel before this one is the gather or gate_up, so the offsets are complete.
    see_older_kernels();
    count_row_tiles<Tile>(a, table);
  }
  __syncthreads();
  const PackedTiles<Tile> tiles(a, table);

  if (threadIdx.x >= Tile::kMultiplying) {
    set_fewer_registers<Tile::kFewerRegisters>();
    if (threadIdx.x == Tile::kMultiplying) {
      copy_weights(tiles, ring);
    } else if (threadIdx.x == Tile::kMultiplying + 32) {
      wait_for_previous_kernel();
      allow_next_kernel();
      copy_rows(tiles, ring);
    }
  } else {
    set_more_registers<Tile::kMoreRegisters>();
    wait_for_previous_kernel();
    const PackedProduct& p = a.product;
    const PanelRing<Tile> panels{ring, threadIdx.x / 128 * p.block_bytes};
    PackedPlace place;
    PackedPosition at;
    for (uint32_t n = 0; (at = receive_ticket<Tile>(n)).rows > 0; ++n) {
      with_rows<Tile>(at.rows, [&](auto width) {
        constexpr int kRows = decltype(width)::value;
        float sums[kRows / 8][4];
        if constexpr (kRows <= kWarpRows) {
          multiply_by_warps<kRows / 8>(sums, p, panels, place, at.rows);
        } else if constexpr (kRows <= kBurstRows && Tile::kMaxRows <= kBurstRows) {
          multiply_in_bursts<Tile>(sums, p, ring, place);
        } else {
          multiply_rolling<Tile>(sums, p, ring, place);
        }
        epilogue(sums, p, at, [&](int row) { return at.row + row; });
      });
    }
  }
}

#endif

}  // namespace yamoe
