// The grouped GEMM for Hopper. It computes the product of grouped_gemm.cuh with wgmma, which reads both operands from
// shared memory. The weights are the first operand, and the rows of the input are the second one, whose number may be any
// multiple of 8. A tile is two pairs of strips of 64 columns by up to kBM rows of one expert.
//
// A block has four warpgroups: two producers, which copy, and two consumers, which multiply one pair of strips each. They
// synchronize with two mbarriers per stage of the ring: "full" completes with the last byte of a stage, and "empty" with
// the last read of it. So copies run ahead from one tile to the next, and one consumer may store its results while the
// other still multiplies.
//
// The weights are copied in boxes of a tensor map, which one thread issues. If gate and up columns are split, or each is a
// row in memory, a pair of strips has the gate columns and the up columns of the same numbers. If they alternate in a row in
// memory, they alternate in a strip too. If the rows of the input are consecutive, as in down, the same thread copies them
// in boxes too. Otherwise all producer threads gather them row by row. Rows in shared memory have 128 bytes, in 16-byte
// chunks with the swizzle of wgmma. The rows of the input and of out-in weights run along the depth. Those of in-out weights
// run along the columns.
//
// Blocks take tiles by tickets, because tiles do not take equally long: one producer thread takes a ticket when it has
// issued the copies of a tile, and passes the position of the next tile to the other warps.
//
// The rows of an expert are divided evenly among its tiles, in units of 16. So few multiplications are of missing rows.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx_wgmma.cuh>

#include "warpgroup_loader.cuh"

namespace yamoe {

// A consumer's sums: strips by tiles of 8 rows.
template <class Tile>
using StripSums = float[Tile::kStrips][Tile::kBM / 8][4];

// Computes the sums of kRows rows over the whole depth. Without rows, it only releases the stages. The first wgmma does not
// clear the sums, because the compiler would then serialize all of them. It also does that if unused sums are changed here.
template <int kRows, class Loader, class Tile = typename Loader::Tile>
__device__ __forceinline__ void multiply_strips(StripSums<Tile>& sums, uint32_t ring, RingPlace<Tile>& place,
                                                int depth) {
  constexpr bool kAcross = Loader::kLayout != WeightLayout::kOutIn;
  const uint32_t pair = ring + threadIdx.x / 128 * (2 * Tile::kStripBytes);
  // Called when the warp has read the stage before the current one: the producers may overwrite it.
  const auto release = [&] {
    __syncwarp();
    const int before = place.stage == 0 ? Tile::kStages - 1 : place.stage - 1;
    if (threadIdx.x % 32 == 0) mbarrier_arrive(ring + Tile::kEmpty + before * 8);
  };
#pragma unroll
  for (int i = 0; i < Tile::kStrips; ++i) {
#pragma unroll
    for (int j = 0; j < kRows / 8; ++j) {
#pragma unroll
      for (int c = 0; c < 4; ++c) sums[i][j][c] = 0.0f;
    }
  }
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
    if constexpr (kRows > 0) {
      if constexpr (Loader::kThreads > 1) fence_async_proxy();  // threads have written the rows
      const uint32_t a = pair + place.stage * Tile::kStageBytes;
      const uint32_t b = ring + place.stage * Tile::kStageBytes + Tile::kWeightBytes;
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < Tile::kBK / 16; ++step) {
        const uint64_t rows = wgmma_descriptor(b + step * 32);
#pragma unroll
        for (int i = 0; i < Tile::kStrips; ++i) {
          const uint32_t columns = a + i * Tile::kStripBytes + step * (kAcross ? 16 * Tile::kRowBytes : 32);
          wgmma_shared<typename Loader::T, kAcross, kRows / 8>(sums[i], wgmma_descriptor(columns), rows);
        }
      }
      wgmma_commit();
      wgmma_wait_groups<1>();
    }
    if (k > 0) release();
    place.next();
  }
  if constexpr (kRows > 0) {
    wgmma_wait_groups<0>();
#pragma unroll
    for (int i = 0; i < Tile::kStrips; ++i) sums_are_complete<kRows / 8>(sums[i]);
  }
  release();
}

// The same for as many rows as one of the widths, or for none.
template <class Loader, class Tile, int... kWidths>
__device__ __forceinline__ void multiply_width(int width, StripSums<Tile>& sums, uint32_t ring, RingPlace<Tile>& place,
                                               int depth, std::integer_sequence<int, kWidths...>) {
  const auto multiply = [&](auto rows) {
    if (width != decltype(rows)::value) return false;
    multiply_strips<decltype(rows)::value, Loader>(sums, ring, place, depth);
    return true;
  };
  (multiply(std::integral_constant<int, kWidths>{}) || ...);
}

// The kernel. It calls `epilogue(sums, position, column)` with a consumer's sums and the warp's first column. A warp has 16
// columns of each strip: lane l has the columns l / 4 and l / 4 + 8, and of every 8 rows those with the numbers 2 (l % 4) and
// 2 (l % 4) + 1.
template <class Loader, class Epilogue>
__device__ __forceinline__ void warpgroup_gemm(const typename Loader::Arguments& arguments, const Epilogue& epilogue) {
  using Tile = typename Loader::Tile;
  using T = typename Loader::T;
  const Product<T> p = arguments;
  const uint32_t ring = shared_address(dynamic_smem());
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;

  if (threadIdx.x == 0) {
    Loader::prefetch(arguments);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s * 8, Loader::kArrivals);
      mbarrier_init(empty + s * 8, Tile::kConsumers * 4);  // one per warp
    }
    for (int s = 0; s < Tile::kSlots; ++s) mbarrier_init(ring + Tile::kTaken + s * 8, 1);
    fence_async_proxy();
  }
  __syncthreads();

  RingPlace<Tile> place;
  if (threadIdx.x >= Tile::kConsumers * 128) {
    set_fewer_registers<Tile::kProducerRegisters>();
    if (threadIdx.x >= Tile::kConsumers * 128 + Loader::kThreads) return;
    const int count = tile_count<Tile>(p);
    const bool leads = threadIdx.x == Tile::kConsumers * 128;
    Loader loader(p, arguments, dynamic_smem() + Tile::kTable);
    if (leads) pass_tile<Tile>(p, 0, static_cast<int>(blockIdx.x), count);
    for (uint32_t n = 0;; ++n) {
      const TilePosition at = receive_tile<Tile>(n);
      if (at.expert < 0) break;
      loader.aim(at);
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, full + place.stage * 8, k);
        place.next();
      }
      if (leads) pass_tile<Tile>(p, n + 1, take_ticket(arguments.counters, count), count);
    }
    loader.finish();
  } else {
    set_more_registers<Tile::kConsumerRegisters>();
    using Weights = typename Loader::Weights;
    const int width = Weights::kPairs ? p.columns.width / 2 : p.columns.width;
    for (uint32_t n = 0;; ++n) {
      const TilePosition at = receive_tile<Tile>(n);
      if (at.expert < 0) break;
      const int column = Weights::first_column(at, threadIdx.x / 128);
      const bool exists = column < width;
      StripSums<Tile> sums;
      multiply_width<Loader, Tile>(exists ? Tile::width_of(at.row_end - at.row) : 0, sums, ring, place, p.depth,
                                   typename Tile::Widths{});
      if (exists) epilogue(sums, at, column + threadIdx.x % 128 / 32 * 16);
    }
  }
}

}  // namespace yamoe
