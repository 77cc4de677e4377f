// The grouped GEMM for Hopper. It computes the product of grouped_gemm.cuh with wgmma, which reads both operands from
// shared memory.
//
// A block has four warpgroups: two producers, which copy, and two consumers, which multiply half of the tile's rows
// each. They synchronize with two mbarriers per stage of the ring: "full" completes with the last byte of a stage, and
// "empty" with the last read of it. So copies run ahead from one tile to the next, and one consumer may store its
// results while the other still multiplies.
//
// B is copied in boxes of a tensor map, which one thread issues. The map knows where gate and up columns are in memory:
// see src/cuda/plan/weight_boxes.ts. If the rows of A are consecutive, as in down, the same thread copies them in boxes
// too. Otherwise all producer threads gather them row by row. Rows in shared memory have 128 bytes, in 16-byte chunks
// with the swizzle of wgmma. The rows of A and of an out-in B run along the depth. An in-out B is stored in slabs of
// columns, whose rows run along the columns.
//
// Blocks take tiles by tickets, because tiles do not take equally long: one producer thread takes a ticket when it has
// issued the copies of a tile, and passes it to the other warps.
//
// The last tile of an expert may have few rows. A consumer multiplies only its units of 64 rows that have rows, and A is
// copied only for those.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx.cuh>

#include "boxes.cuh"
#include "tickets.cuh"

namespace yamoe {

template <int kBM_, int kBN_, int kStages_>
struct WarpgroupTile {
  static constexpr int kBM = kBM_, kBN = kBN_, kStages = kStages_;
  static constexpr int kBK = 64;                                           // depth of one step: four wgmmas
  static constexpr int kConsumers = 2, kProducers = 2;                     // warpgroups
  static constexpr int kConsumerRegisters = 232, kProducerRegisters = 24;  // of each thread
  static constexpr int kThreads = (kConsumers + kProducers) * 128;
  static constexpr int kWM = kBM / kConsumers;
  static constexpr int kMmaRows = 64, kMmaM = kWM / kMmaRows, kMmaN = kBN / 8;

  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesA = kBM * kRowBytes, kBytesB = kBN * kRowBytes, kStageBytes = kBytesA + kBytesB;
  static constexpr int kSlabColumns = 64, kSlabBytes = kBK * kSlabColumns * 2;
  static constexpr int kTableBytes = kBM * 8;  // a pointer to each row of A
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  using Ticket = int;               // the number of a tile, or -1 after the last one
  static constexpr int kSlots = 8;  // for tickets, of 16 bytes each
  static constexpr int kTaken = kEmpty + kStages * 8, kTickets = kTaken + kSlots * 8;
  static constexpr int kSharedBytes = kTickets + kSlots * 16;

  static constexpr int kPassRows = kProducers * 16;  // rows of A per pass, eight threads each
  static constexpr int kPasses = kBM / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of 128-byte rows");
  static_assert(kBN == 192, "wgmma is instantiated for 192 columns");
  static_assert(kMmaRows % kPassRows == 0 && kPassRows % 8 == 0, "a pass must not change the swizzle");
  static_assert((kConsumers * kConsumerRegisters + kProducers * kProducerRegisters) * 128 <= 65536,
                "the registers of a block");
  static_assert(kSharedBytes <= 227 * 1024, "the shared memory of a block");
};

// The boxes of B that a tile needs. Missing columns, and rows beyond the depth, become zeros.
template <class Tile, WeightLayout kLayout>
struct WeightBoxes {
  const TensorMap& map;
  int expert, column;  // a gate column and its up column have the same number

  __device__ __forceinline__ void aim(const TilePosition& at, const Columns& columns) {
    expert = at.expert;
    column = columns.half ? at.column / 2 : at.column;
  }

  __device__ __forceinline__ void copy(uint32_t to, uint32_t full, int k) const {
    if constexpr (kLayout == WeightLayout::kOutIn) {
      bulk_copy_4d(to, map, full, k, 0, column, expert);
    } else {
      constexpr int kParts = kLayout == WeightLayout::kInOutSplit ? 2 : 1;
#pragma unroll
      for (int s = 0; s < Tile::kBN / Tile::kSlabColumns; ++s) {
        bulk_copy_4d(to + s * Tile::kSlabBytes, map, full, column + s * Tile::kSlabColumns / kParts, k, 0, expert);
      }
    }
  }
};

// Copies the steps of a tile into the ring, and gathers the rows of A. Producers have few registers, so each warp keeps
// the addresses of its rows in shared memory.
template <class Tile_, WeightLayout kLayout_, class T_>
struct GatheringLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedArguments<T>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = Tile::kProducers * 128;
  static constexpr int kArrivals = kThreads + 1;  // per stage; the thread that issues the boxes arrives twice

  const Product<T>& p;
  WeightBoxes<Tile, kLayout> weights;
  const T** const rows;   // addresses of the warp's rows of A: four per pass
  const uint32_t offset;  // of the thread's first chunk of A in a stage
  int passes;             // as many as the consumers' rows need

  __device__ __forceinline__ GatheringLoader(const Product<T>& product, const Arguments& arguments, void* table)
      : p(product),
        weights{arguments.weights},
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}

  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kConsumers * 128; }

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) { prefetch_tensor_map(arguments.weights); }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at, p.columns);
    __syncwarp();
    // Missing rows are replaced by other rows of the tile: their sums are not stored.
    const int count = min(Tile::kBM, at.row_end - at.row);
    passes = (count + Tile::kMmaRows - 1) / Tile::kMmaRows * (Tile::kMmaRows / Tile::kPassRows);
#pragma unroll 1
    for (int i = thread() % 32; i < 4 * passes; i += 32) {
      const int own = i / 4 * Tile::kPassRows + thread() / 32 * 4 + i % 4;
      const int r = at.row + (own < count ? own : own * count / Tile::kBM);
      rows[i] = p.input + static_cast<size_t>(p.row_index[r]) * p.depth;
    }
    __syncwarp();
  }

  // Copies a step to a stage and arrives at its barrier. Elements beyond the depth become zeros.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    if (thread() == 0) {
      mbarrier_arrive_expecting(full, Tile::kBytesB);
      weights.copy(stage + Tile::kBytesA, full, k);
    }
    const int own = k + thread() % 8 * kChunk;
    const int deep = own < p.depth ? 16 : 0;  // in bytes; the depth is a multiple of a chunk
    const int at = deep ? own : 0;
    uint32_t to = stage + offset;
#pragma unroll 4
    for (int i = 0; i < passes; ++i) {
      cp_async_16(to, rows[i * 4 + thread() / 8 % 4] + at, deep);
      to += Tile::kPassRows * Tile::kRowBytes;
    }
    cp_async_arrive(full);
  }

  __device__ __forceinline__ void finish() const {
    cp_async_commit();
    cp_async_wait<0>();
  }
};

// The same for consecutive rows of A, which one thread copies in boxes.
template <class Tile_, WeightLayout kLayout_, class T_>
struct BoxLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedRowsArguments<T>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = 1, kArrivals = 1;

  const Product<T>& p;
  WeightBoxes<Tile, kLayout> weights;
  const TensorMap& rows;
  int row, units;  // of A; a unit has kMmaRows rows

  __device__ __forceinline__ BoxLoader(const Product<T>& product, const Arguments& arguments, void*)
      : p(product), weights{arguments.weights}, rows(arguments.rows) {}

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) {
    prefetch_tensor_map(arguments.weights);
    prefetch_tensor_map(arguments.rows);
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at, p.columns);
    row = at.row;
    units = (min(Tile::kBM, at.row_end - at.row) + Tile::kMmaRows - 1) / Tile::kMmaRows;
  }

  // Missing rows of the last unit are those of the next expert, or zeros. Their sums are not stored.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    constexpr int kUnitBytes = Tile::kMmaRows * Tile::kRowBytes;
    mbarrier_arrive_expecting(full, Tile::kBytesB + units * kUnitBytes);
    for (int i = 0; i < units; ++i) {
      bulk_copy_4d(stage + i * kUnitBytes, rows, full, k, row + i * Tile::kMmaRows, 0, 0);
    }
    weights.copy(stage + Tile::kBytesA, full, k);
  }

  __device__ __forceinline__ void finish() const {}
};

// Adds the product over the whole depth to the sums of a warpgroup's first kCount * kMmaRows rows. Without rows, it only
// releases the stages. The sums are cleared by the caller: if the first wgmma did that, the compiler would serialize all.
template <int kCount, class Loader, class Tile = typename Loader::Tile>
__device__ __forceinline__ void multiply_rows(float (&sums)[Tile::kMmaM][Tile::kMmaN][4], uint32_t ring,
                                              RingPlace<Tile>& place, int depth, int warp_m) {
  constexpr bool kOutIn = Loader::kLayout == WeightLayout::kOutIn;
  constexpr int kRowBytes = Loader::kLayout == WeightLayout::kInOutSplit ? Tile::kRowBytes / 2 : Tile::kRowBytes;
  // Called when the warp has read the stage before the current one: the producers may overwrite it.
  const auto release = [&] {
    __syncwarp();
    const int before = place.stage == 0 ? Tile::kStages - 1 : place.stage - 1;
    if (threadIdx.x % 32 == 0) mbarrier_arrive(ring + Tile::kEmpty + before * 8);
  };
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
    if constexpr (kCount > 0) {
      if constexpr (Loader::kThreads > 1) fence_async_proxy();  // threads have written A
      const uint32_t a = ring + place.stage * Tile::kStageBytes + warp_m * Tile::kRowBytes;
      const uint32_t b = ring + place.stage * Tile::kStageBytes + Tile::kBytesA;
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < Tile::kBK / 16; ++step) {
        const uint64_t columns = kOutIn
                                     ? wgmma_descriptor(b + step * 32, 0, Tile::kRowBytes)
                                     : wgmma_descriptor(b + step * 16 * kRowBytes, Tile::kBK * kRowBytes, kRowBytes);
#pragma unroll
        for (int i = 0; i < kCount; ++i) {
          const uint64_t rows =
              wgmma_descriptor(a + i * Tile::kMmaRows * Tile::kRowBytes + step * 32, 0, Tile::kRowBytes);
          wgmma_m64n192k16<typename Loader::T, !kOutIn>(sums[i], rows, columns, true);
        }
      }
      wgmma_commit();
      wgmma_wait<1>(sums);
    }
    if (k > 0) release();
    place.next();
  }
  if constexpr (kCount > 0) wgmma_wait<0>(sums);
  release();
}

// The kernel. It calls `epilogue(sums, position, warp_m)` with a warp's sums, [kMmaM][kMmaN][4], in the layout of
// mma.m16n8k16 for every kMmaRows rows.
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
    const auto pass = [&](uint32_t n, int index) { pass_ticket<Tile>(n, index < count ? index : -1); };
    if (leads) pass(0, static_cast<int>(blockIdx.x));
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      loader.aim(locate<Tile>(p, index));
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, full + place.stage * 8, k);
        place.next();
      }
      if (leads) pass(n + 1, take_ticket(arguments.counters, count));
    }
    loader.finish();
  } else {
    set_more_registers<Tile::kConsumerRegisters>();
    const int warp_m = threadIdx.x / 128 * Tile::kWM;
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      const TilePosition at = locate<Tile>(p, index);
      const int rows = at.row_end - at.row - warp_m;
      float sums[Tile::kMmaM][Tile::kMmaN][4] = {};
      if (rows > (Tile::kMmaM - 1) * Tile::kMmaRows) {
        multiply_rows<Tile::kMmaM, Loader>(sums, ring, place, p.depth, warp_m);
      } else if (Tile::kMmaM > 1 && rows > 0) {
        multiply_rows<1, Loader>(sums, ring, place, p.depth, warp_m);
      } else {
        multiply_rows<0, Loader>(sums, ring, place, p.depth, warp_m);
        continue;
      }
      epilogue(sums, at, warp_m + threadIdx.x % 128 / 32 * 16);
    }
  }
}

}  // namespace yamoe
