// The tiles of Hopper's grouped GEMM, and how blocks take them: see warpgroup_gemm.cuh.
#pragma once
#include <ptx.cuh>

#include <utility>

#include "product.cuh"
#include "tickets.cuh"

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
  static constexpr int kSlots = 8;  // for positions of tiles, of 16 bytes each
  static constexpr int kTaken = kEmpty + kStages * 8, kTickets = kTaken + kSlots * 8;
  static constexpr int kSharedBytes = kTickets + kSlots * 16;

  static constexpr int kUnitRows = 16, kBoxRows = 32;
  static constexpr int kPassRows = kProducers * 16;  // rows of the input per pass, eight threads each
  static constexpr int kPasses = kBM / kPassRows;

  static_assert(kRowBytes == 128, "the swizzle is that of 128-byte rows");
  static_assert(kStrips == 2, "a pair of strips has gates and ups");
  static_assert(kBM % kPassRows == 0 && kPassRows % 8 == 0, "a pass must not change the swizzle");
  static_assert(kBM % kBoxRows == 0 && kBoxRows % 8 == 0, "a box must not change the swizzle");
  static_assert((kConsumers * kConsumerRegisters + kProducers * kProducerRegisters) * 128 <= 65536,
                "the registers of a block");
  static_assert(kSharedBytes <= 227 * 1024, "the shared memory of a block");

  // The smallest of the widths that is at least `rows`.
  static __device__ __forceinline__ int width_of(int rows) {
    return rows > 128 ? (rows + 15) / 16 * 16 : (rows + 31) / 32 * 32;
  }
};

// Returns the position of a tile. All tiles of an expert have equally many rows, or one unit more.
template <class Tile, class T>
__device__ __forceinline__ TilePosition locate_even(const Product<T>& p, int index) {
  TilePosition at = locate<Tile>(p, index);
  const int begin = p.row_offsets[at.expert], tile = (at.row - begin) / Tile::kBM;
  const int tiles = p.tile_offsets[at.expert + 1] - p.tile_offsets[at.expert];
  const int units = (at.row_end - begin + Tile::kUnitRows - 1) / Tile::kUnitRows;
  const int each = units / tiles, more = units % tiles;  // the first `more` tiles have one unit more
  at.row = begin + (tile * each + min(tile, more)) * Tile::kUnitRows;
  at.row_end = min(at.row + (each + (tile < more)) * Tile::kUnitRows, at.row_end);
  return at;
}

// Passes the position of a block's n-th tile to all warps, or expert -1 if there are not that many tiles. The position is
// passed instead of the ticket, so that no other thread has to compute it.
template <class Tile, class T>
__device__ __forceinline__ void pass_tile(const Product<T>& p, uint32_t n, int ticket, int count) {
  static_assert(Tile::kSlots >= Tile::kStages + 2, "as in pass_ticket");
  unsigned char* const smem = dynamic_smem();
  int4 slot = {-1, 0, 0, 0};
  if (ticket < count) {
    const TilePosition at = locate_even<Tile>(p, ticket);
    slot = {at.expert, at.row, at.row_end, at.column};
  }
  reinterpret_cast<int4*>(smem + Tile::kTickets)[n % Tile::kSlots] = slot;
  mbarrier_arrive(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8);
}

// Returns the position of a block's n-th tile.
template <class Tile>
__device__ __forceinline__ TilePosition receive_tile(uint32_t n) {
  unsigned char* const smem = dynamic_smem();
  mbarrier_wait(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8, n / Tile::kSlots % 2);
  const int4 slot = reinterpret_cast<const int4*>(smem + Tile::kTickets)[n % Tile::kSlots];
  return {slot.x, slot.y, slot.z, slot.w};
}

}  // namespace yamoe
