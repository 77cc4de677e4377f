// The arguments of the packed products, and how they are divided into tiles.
#pragma once
#include <utility>

#include "activation.cuh"
#include "packed_format.cuh"

namespace yamoe {

struct PackedProduct {
  const void* weights;  // blocks: see packed_format.cuh
  const void* input;    // panels: see packed_gemm.cuh; or rows: see packed_few.cuh
  const void* bias;     // [experts][width], or null
  void* out;            // gate_up: panels or rows of width / 2 columns; down: [rows][width]
  int depth, width;
  int block_bytes, variant;  // of the weights: see packed_format.cuh
};

// One of a layer's two products. In gate_up's weights, the two rows of a pair are a gate and its up value; the biases may be split.
struct PackedArguments {
  PackedProduct product;
  const float* row_scales;  // [rows]: multiplies each row's sums of gate_up before the bias is added; null: 1
  const int* row_offsets;   // [experts + 1]: the first row of each expert
  int* counters;            // the first is zero, also afterwards: tickets
  Activation activation;
  int experts;
  int rows;   // of a panel
  int split;  // whether the biases have all gates before all up values
  int down;   // whether the product is down
};

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

struct alignas(16) PackedPosition {
  bool down;
  int row_tile, expert;
  int strip;      // the first
  int row, rows;  // the first, and how many; none after the last tile
};

// Whether the scales of a product's weights follow the blocks: see packed_format.cuh.
template <class Format>
__device__ __forceinline__ bool has_row_scales(const PackedProduct& p) {
  return Format::kHasRowScales && p.variant == 1;
}

// The row scales of a tile's first strip.
template <class Format>
__device__ __forceinline__ const unsigned char* row_scales(const PackedProduct& p, int experts, const PackedPosition& at) {
  if constexpr (Format::kHasRowScales) {
    const size_t groups = ceil_div(p.width, kStrips * kBlockRows), steps = ceil_div(p.depth, kBlockDepth);
    const size_t scales = Format::row_scales_at(at.expert * groups + at.strip / kStrips) + at.strip % kStrips * kRowScaleBytes;
    return static_cast<const unsigned char*>(p.weights) + experts * groups * steps * kStrips * p.block_bytes + scales;
  }
  return nullptr;
}

// kMaxStages: stages of the ring if there is enough shared memory. kWidths: the numbers of rows of the multiplications,
// ascending. The last one is kMaxRows.
template <class Format_, int kMaxRows_, int kMaxStages, int... kWidths_>
struct PackedTile {
  using Format = Format_;
  using Ticket = PackedPosition;
  using Widths = std::integer_sequence<int, kWidths_...>;
  static constexpr int kMaxRows = kMaxRows_;
  static constexpr int kMoreRegisters = 160, kFewerRegisters = 32;
  static constexpr int kMultiplying = kStrips * 128, kThreads = kMultiplying + 128;
  static constexpr int kRowBytes = kMaxRows * 128, kWeightBytes = kStrips * Format::kBlockBytes;  // of a stage, at most
  static constexpr int kTableBytes = 4 * (1024 + 1);  // for the most experts
  static constexpr int kSlots = 16, kTicketBytes = kSlots * (8 + sizeof(Ticket));  // see tickets.cuh
  static constexpr int kFitting = (227 * 1024 - kTicketBytes - kTableBytes) / (kRowBytes + kWeightBytes + 16);
  static constexpr int kStages = kFitting < kMaxStages ? kFitting : kMaxStages;
  static constexpr int kWeights = kStages * kRowBytes;
  static constexpr int kFull = kWeights + kStages * kWeightBytes;
  static constexpr int kEmpty = kFull + kStages * 8, kTaken = kEmpty + kStages * 8;
  static constexpr int kTickets = kTaken + kSlots * 8, kTable = kTickets + kSlots * sizeof(Ticket);
  static_assert(kMaxRows % 8 == 0, "the swizzle must be that of the rows of an expert");
};

// Writes the number of row tiles before each expert, and then all, to `table` [experts + 1]. Called by one warp.
template <class Tile>
__device__ __forceinline__ void count_row_tiles(const PackedArguments& a, int* table) {
  const int lane = threadIdx.x % 32;
  int sum = 0;
  for (int base = 0; base < a.experts; base += 32) {
    const int e = base + lane;
    int own = e < a.experts ? ceil_div(__ldcg(a.row_offsets + e + 1) - __ldcg(a.row_offsets + e), Tile::kMaxRows) : 0;
#pragma unroll
    for (int distance = 1; distance < 32; distance *= 2) {
      const int other = __shfl_up_sync(0xffffffffu, own, distance);
      if (lane >= distance) own += other;
    }
    if (e < a.experts) table[e + 1] = sum + own;
    sum += __shfl_sync(0xffffffffu, own, 31);
  }
  if (lane == 0) table[0] = 0;
}

// The tiles of a launch. Those of the same rows are consecutive, so that blocks that run together share rows and experts.
template <class Tile>
struct PackedTiles {
  const PackedArguments& arguments;
  const int* table;
  int groups;

  __device__ __forceinline__ PackedTiles(const PackedArguments& a, const int* row_tiles)
      : arguments(a), table(row_tiles), groups(ceil_div(a.product.width, kStrips * kBlockRows)) {}

  __device__ __forceinline__ int count() const { return table[arguments.experts] * groups; }

  __device__ __forceinline__ PackedPosition locate(int index) const {
    if (index >= count()) return {};
    const int row_tile = index / groups;
    int low = 0;
    for (int high = arguments.experts; high - low > 1;) {
      const int middle = (low + high) / 2;
      if (table[middle] <= row_tile) {
        low = middle;
      } else {
        high = middle;
      }
    }
    const int row = __ldcg(arguments.row_offsets + low) + (row_tile - table[low]) * Tile::kMaxRows;
    const int end = __ldcg(arguments.row_offsets + low + 1);
    return {arguments.down != 0, row_tile, low, index % groups * kStrips, row, min(Tile::kMaxRows, end - row)};
  }
};

// A position in the ring, and the number of rounds modulo 2.
struct PackedPlace {
  int stage = 0;
  uint32_t round = 0;

  __device__ __forceinline__ void next(int stages) {
    if (++stage == stages) {
      stage = 0;
      round ^= 1;
    }
  }
};

// Calls `use` with the smallest of kWidths that is at least `rows`, as a compile-time constant.
template <class Use, int kWidth, int... kWider>
__device__ __forceinline__ void with_width(int rows, const Use& use, std::integer_sequence<int, kWidth, kWider...>) {
  if constexpr (sizeof...(kWider) > 0) {
    if (rows > kWidth) return with_width(rows, use, std::integer_sequence<int, kWider...>{});
  }
  use(std::integral_constant<int, kWidth>{});
}
template <class Tile, class Use>
__device__ __forceinline__ void with_rows(int rows, const Use& use) {
  with_width(rows, use, typename Tile::Widths{});
}

#endif

}  // namespace yamoe
