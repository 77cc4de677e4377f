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
// issued the copies of a tile, and passes it to the other warps.
//
// The tiles of an expert have equally many rows, rounded up to a width of the multiplication, except for the last one, which
// has what is left. So few multiplications are of missing rows.
//
// An element's sum is computed in the order of grouped_gemm.cuh: on an H100 both give the same bits.
#pragma once
#include <ptx_wgmma.cuh>

#include <utility>

#include "boxes.cuh"

namespace yamoe {

struct WarpgroupTile {
  static constexpr int kBM = 192, kBN = 256, kStages = 4;
  static constexpr int kBK = 64;                                           // depth of one step: four wgmmas
  static constexpr int kConsumers = 2, kProducers = 2;                     // warpgroups
  static constexpr int kConsumerRegisters = 232, kProducerRegisters = 24;  // of each thread
  static constexpr int kThreads = (kConsumers + kProducers) * 128;
  static constexpr int kStripColumns = 64, kStrips = kBN / (kConsumers * kStripColumns);  // strips of a consumer
  using Widths = std::integer_sequence<int, 0, 32, 64, 96, 128, 144, 160, 176, 192>;

  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kStripBytes = kStripColumns * kRowBytes;
  static constexpr int kWeightBytes = kBN * kRowBytes, kStageBytes = kWeightBytes + kBM * kRowBytes;
  static constexpr int kTableBytes = kBM * 8;  // a pointer to each row of the input
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSlots = 8;  // for tickets, of 16 bytes each
  static constexpr int kTaken = kEmpty + kStages * 8, kTickets = kTaken + kSlots * 8;
  static constexpr int kSharedBytes = kTickets + kSlots * 16;

  static constexpr int kBoxRows = 32;
  static constexpr int kPassRows = kProducers * 16;  // rows of the input per pass, eight threads each
  static constexpr int kPasses = kBM / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of 128-byte rows");
  static_assert(kStrips == 2, "a pair of strips has gates and ups");
  static_assert(kBM % kPassRows == 0 && kPassRows % 8 == 0, "a pass must not change the swizzle");
  static_assert(kBM % kBoxRows == 0 && kBoxRows % 8 == 0, "a box must not change the swizzle");
  static_assert((kConsumers * kConsumerRegisters + kProducers * kProducerRegisters) * 128 <= 65536,
                "the registers of a block");
  // Nobody waits for an empty slot: when all copies of a tile are issued, every warp has begun at least the tile that is
  // kStages before it, and the slot of the next ticket was that of an earlier tile.
  static_assert(kSlots >= kStages + 2, "a ticket must not be overwritten before it is received");
  static_assert(kSharedBytes <= 227 * 1024, "the shared memory of a block");

  // The smallest of the widths that is at least `rows`.
  static __device__ __forceinline__ int width_of(int rows) {
    return rows > 128 ? (rows + 15) / 16 * 16 : (rows + 31) / 32 * 32;
  }
};

// Passes the ticket of a block's n-th tile to all warps, or -1 if there are not that many tiles.
template <class Tile>
__device__ __forceinline__ void pass_ticket(uint32_t n, int ticket, int count) {
  unsigned char* const smem = dynamic_smem();
  reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4] = ticket < count ? ticket : -1;
  mbarrier_arrive(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8);
}

// Returns the ticket of a block's n-th tile.
template <class Tile>
__device__ __forceinline__ int receive_ticket(uint32_t n) {
  unsigned char* const smem = dynamic_smem();
  mbarrier_wait(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8, n / Tile::kSlots % 2);
  return reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4];
}

// Takes a ticket for another tile than the block's first. All blocks together take as many as there are tiles, because
// each block with a tile takes one too many. The last of them lets the tickets begin again.
__device__ __forceinline__ int take_ticket(int* counter, int count) {
  const int taken = atomicAdd(counter, 1);
  if (taken == count - 1) *counter = 0;
  return taken + static_cast<int>(gridDim.x);
}

// Returns the position of a tile whose expert's tiles have equally many rows.
template <class Tile, class T>
__device__ __forceinline__ TilePosition locate_even(const Product<T>& p, int index) {
  TilePosition at = locate<Tile>(p, index);
  const int begin = p.row_offsets[at.expert];
  const int tiles = p.tile_offsets[at.expert + 1] - p.tile_offsets[at.expert];
  const int rows = Tile::width_of((at.row_end - begin + tiles - 1) / tiles);
  at.row = begin + (at.row - begin) / Tile::kBM * rows;
  at.row_end = min(at.row + rows, at.row_end);
  return at;
}

// The boxes of weights that a tile needs. Missing columns, and rows beyond the depth, become zeros.
template <class Tile, WeightLayout kLayout, bool kGated>
struct WeightBoxes {
  // Whether the first strip of a pair has gates, and the second one their ups.
  static constexpr bool kPairs = kGated && kLayout != WeightLayout::kInOut;
  static constexpr int kPairColumns = (kPairs ? 1 : 2) * Tile::kStripColumns;  // different column numbers of a pair
  const TensorMap& map;
  int expert, column;

  // The first column of a consumer's pair of strips. A gate column and its up column have the same number.
  static __device__ __forceinline__ int first_column(const TilePosition& at, int consumer) {
    return (kPairs ? at.column / 2 : at.column) + consumer * kPairColumns;
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    expert = at.expert;
    column = first_column(at, 0);
  }

  // A box has a pair of strips, or one strip if the rows of the weights run along the columns and there are no halves.
  __device__ __forceinline__ void copy(uint32_t to, uint32_t full, int k) const {
    constexpr int kBoxes = kLayout == WeightLayout::kInOut ? Tile::kBN / Tile::kStripColumns : Tile::kConsumers;
#pragma unroll
    for (int i = 0; i < kBoxes; ++i) {
      const int first = column + i * (Tile::kConsumers * kPairColumns / kBoxes);
      const uint32_t box = to + i * (Tile::kWeightBytes / kBoxes);
      if constexpr (kLayout == WeightLayout::kOutIn) {
        bulk_copy_4d(box, map, full, k, first, 0, expert);
      } else {
        bulk_copy_4d(box, map, full, first, k, 0, expert);
      }
    }
  }
};

// Copies the steps of a tile into the ring, and gathers the rows of the input. Producers have few registers, so each warp
// keeps the addresses of its rows in shared memory.
template <class Tile_, WeightLayout kLayout_, class T_>
struct GatheringLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedArguments<T>;
  using Weights = WeightBoxes<Tile, kLayout_, true>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = Tile::kProducers * 128;
  static constexpr int kArrivals = kThreads + 1;  // per stage; the thread that issues the boxes arrives twice

  const Product<T>& p;
  Weights weights;
  const T** const rows;   // addresses of the warp's rows: four per pass
  const uint32_t offset;  // of the thread's first chunk in a stage
  int passes;             // as many as the width of the multiplication needs

  __device__ __forceinline__ GatheringLoader(const Product<T>& product, const Arguments& arguments, void* table)
      : p(product),
        weights{arguments.weights},
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(Tile::kWeightBytes + thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}

  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kConsumers * 128; }

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) { prefetch_tensor_map(arguments.weights); }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at);
    __syncwarp();
    // Missing rows are replaced by other rows of the tile: their sums are not stored.
    const int count = at.row_end - at.row;
    passes = (count + Tile::kPassRows - 1) / Tile::kPassRows;
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
      mbarrier_arrive_expecting(full, Tile::kWeightBytes);
      weights.copy(stage, full, k);
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

// The same for consecutive rows of the input, which one thread copies in boxes.
template <class Tile_, WeightLayout kLayout_, class T_>
struct BoxLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedRowsArguments<T>;
  using Weights = WeightBoxes<Tile, kLayout_, false>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = 1, kArrivals = 1;

  Weights weights;
  const TensorMap& rows;
  int row, boxes;  // of the input

  __device__ __forceinline__ BoxLoader(const Product<T>&, const Arguments& arguments, void*)
      : weights{arguments.weights}, rows(arguments.rows) {}

  static __device__ __forceinline__ void prefetch(const Arguments& arguments) {
    prefetch_tensor_map(arguments.weights);
    prefetch_tensor_map(arguments.rows);
  }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at);
    row = at.row;
    boxes = (at.row_end - at.row + Tile::kBoxRows - 1) / Tile::kBoxRows;
  }

  // Missing rows of the last box are those of the next tile, or zeros. Their sums are not stored.
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    constexpr int kBoxBytes = Tile::kBoxRows * Tile::kRowBytes;
    mbarrier_arrive_expecting(full, Tile::kWeightBytes + boxes * kBoxBytes);
    weights.copy(stage, full, k);
    for (int i = 0; i < boxes; ++i) {
      bulk_copy_4d(stage + Tile::kWeightBytes + i * kBoxBytes, rows, full, k, row + i * Tile::kBoxRows, 0, 0);
    }
  }

  __device__ __forceinline__ void finish() const {}
};

// A consumer's sums: strips by tiles of 8 rows.
template <class Tile>
using StripSums = float[Tile::kStrips][Tile::kBM / 8][4];

// Adds the product over the whole depth to a consumer's sums of kRows rows. Without rows, it only releases the stages. The
// sums are cleared by the caller: if the first wgmma did that, the compiler would serialize all.
template <int kRows, class Loader, class Tile = typename Loader::Tile>
__device__ __forceinline__ void multiply_strips(StripSums<Tile>& sums, uint32_t ring, RingPlace<Tile>& place, int depth) {
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
        const uint64_t rows = wgmma_descriptor(b + step * 32, 0, Tile::kRowBytes);
#pragma unroll
        for (int i = 0; i < Tile::kStrips; ++i) {
          const uint32_t columns = a + i * Tile::kStripBytes + step * (kAcross ? 16 * Tile::kRowBytes : 32);
          wgmma_shared<typename Loader::T, kAcross, kRows / 8>(sums[i], wgmma_descriptor(columns, 0, Tile::kRowBytes), rows);
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
    if (leads) pass_ticket<Tile>(0, static_cast<int>(blockIdx.x), count);
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      loader.aim(locate_even<Tile>(p, index));
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, full + place.stage * 8, k);
        place.next();
      }
      if (leads) pass_ticket<Tile>(n + 1, take_ticket(arguments.counters, count), count);
    }
    loader.finish();
  } else {
    set_more_registers<Tile::kConsumerRegisters>();
    using Weights = typename Loader::Weights;
    const int width = Weights::kPairs ? p.columns.width / 2 : p.columns.width;
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      const TilePosition at = locate_even<Tile>(p, index);
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
