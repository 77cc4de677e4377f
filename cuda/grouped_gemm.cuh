// The grouped GEMM: multiplies the rows of A that belong to each expert by the expert's B, on tensor cores (mma.sync).
// It runs on every architecture from sm_75.
//
//   A  rows of `depth` elements; the rows of a tile are consecutive, or gathered through `row_index`
//   B  [experts][depth][width] ("in-out") or [experts][width][depth] ("out-in"), or packed, by the class that copies it:
//      dense_weights.cuh, stored_loader.cuh
//
// All sizes are multiples of 8. The grid is persistent: each block computes every gridDim.x-th tile. Its copies run
// ahead from one tile to the next, so the tensor cores wait only for the epilogue. Shared memory contains a ring of
// kStages stages, each with a step of kBK of the depth. 16-byte chunks are swizzled so that the copies and ldmatrix
// have no bank conflicts. Addresses are computed before the loop over the depth, because the other instructions of the
// loop must fit between the multiplications.
//
// An element's sum is computed in the same order in every tile shape. Its bits depend neither on the shape nor on the
// batch.
#pragma once
#include <ptx.cuh>

#include "element.cuh"
#include "product.cuh"

namespace yamoe {

constexpr int kBK = 32;  // depth of one step: two mma.m16n8k16

template <int kBM_, int kBN_, int kWarpsM_, int kWarpsN_, int kStages_>
struct Tile {
  static constexpr int kBM = kBM_, kBN = kBN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kWM = kBM / kWarpsM, kWN = kBN / kWarpsN;  // what one warp computes
  static constexpr int kMmaRows = 16, kMmaM = kWM / kMmaRows, kMmaN = kWN / 8;
  static constexpr int kBytesA = kBM * kBK * 2, kBytesB = kBK * kBN * 2;

  // In one pass all threads copy kThreads chunks. These are the rows of A and B per pass.
  static constexpr int kChunksB = kBN / kChunk;  // per row
  static constexpr int kRowsA = kThreads / 4 < kBM ? kThreads / 4 : kBM;
  static constexpr int kRowsB = kThreads / kChunksB;
  static constexpr int kPassesA = kBM / kRowsA, kPassesB = kBK / kRowsB;
  static constexpr int kRowsT = kThreads / 4 < kBN ? kThreads / 4 : kBN;  // for an out-in B, whose rows are the columns
  static constexpr int kPassesT = kBN / kRowsT;

  static_assert(kWM % 16 == 0, "a warp's rows must be whole mma tiles");
  static_assert(kWN == 64, "the epilogue packs the results of eight mma tiles into 16 bytes");
  static_assert(kChunksB % 8 == 0, "the swizzle of B permutes 8 chunks");
  static_assert(kRowsA % 8 == 0 && kBM % kRowsA == 0, "a pass must not change the swizzle of A");
  static_assert(kRowsB * kChunksB == kThreads && kBK % kRowsB == 0, "B's chunks must divide among the threads");
  static_assert((kRowsB & (kRowsB - 1)) == 0, "a pass must change the swizzle of B by an exclusive or");
  static_assert(kRowsT % 8 == 0 && kBN % kRowsT == 0 && kRowsT * 4 == kThreads,
                "a pass must not change the swizzle of an out-in B");
  static_assert(kPassesA <= 16 && kPassesT <= 16, "`live` has 16 bits for the passes of A and of B");
  static_assert(kStages >= 2, "a ring needs two stages");
};

// The offset of a chunk in its part of a stage, in bytes. Rows along the depth (A, out-in B) have 64 bytes, and two of
// them fill the 32 banks, so the swizzle uses the row's bits above the lowest. Rows of an in-out B have at least 128
// bytes, so the swizzle uses the lowest three bits: the 8 rows of an ldmatrix phase.
__device__ __forceinline__ uint32_t swizzle_deep(int row, int chunk) {
  return row * kBK * 2 + ((chunk ^ row >> 1) & 3) * 16;
}
template <class Tile>
__device__ __forceinline__ uint32_t swizzle_wide(int row, int chunk) {
  return row * Tile::kBN * 2 + (chunk ^ (row & 7)) * 16;
}

// Copies the steps of all tiles of the block into the ring, some steps ahead of the multiplication. B copies the weights.
template <class B>
struct Loader {
  using Tile = typename B::Tile;
  using T = typename B::T;
  const Product<T>& p;
  const int count;
  const int chunk;          // of a row along the depth: the one that the thread copies
  const uint32_t offset_a;  // of the destination in a stage
  int index, left;          // the tile, and the depth that remains to be copied
  uint32_t live;            // bits 0-15: which of the thread's rows of A exist; the others belong to B
  const T* a[Tile::kPassesA];
  B b;

  template <class Arguments>
  __device__ __forceinline__ Loader(const Arguments& arguments, int first, int tiles)
      : p(arguments),
        count(tiles),
        chunk(threadIdx.x % 4),
        offset_a(swizzle_deep(threadIdx.x / 4 % Tile::kRowsA, chunk)),
        index(first),
        left(0),
        live(0),
        b(arguments) {
    aim();
  }

  // Computes the addresses of the current tile, unless the last tile is done.
  __device__ __forceinline__ void aim() {
    if (index >= count) return;
    left = p.depth;
    const TilePosition at = locate<Tile>(p, index);
    live = b.aim(at);
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int row = at.row + static_cast<int>(threadIdx.x) / 4 % Tile::kRowsA + i * Tile::kRowsA;
      const bool exists = row < at.row_end;
      const int source = exists ? row : at.row;
      a[i] = p.input + static_cast<size_t>(p.row_index ? p.row_index[source] : source) * p.depth + chunk * kChunk;
      live |= static_cast<uint32_t>(exists) << i;
    }
  }

  // Copies the next step to a stage. Missing rows and columns, and steps beyond the last, become zeros. (Copying an
  // existing row instead is slower, because many threads would wait for the same line in L2.) This has no branch, so
  // that the compiler can place the copies between multiplications.
  __device__ __forceinline__ void load(uint32_t stage) {
    const uint32_t rows = chunk * kChunk < left ? live : 0;  // the depth is a multiple of a chunk
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      cp_async_16(stage + offset_a + i * Tile::kRowsA * kBK * 2, a[i], (rows >> i & 1) * 16);
      a[i] += kBK;
    }
    b.load(stage + Tile::kBytesA, live, left);
    left -= kBK;
  }

  // Continues with the next tile when this one is copied.
  __device__ __forceinline__ void advance() {
    if (left > 0 || index >= count) return;
    index += gridDim.x;
    aim();
  }
};

// A warp's operands for a depth of 16.
template <class Tile>
struct Fragments {
  uint32_t a[Tile::kMmaM][4];
  uint32_t b[Tile::kMmaN][2];
};

// The offsets of a lane's operands in the parts of a stage.
template <class Tile, bool kOutIn>
struct Reader {
  uint32_t a[2];                             // for the first and the second half of a step
  uint32_t b[kOutIn ? 2 : Tile::kMmaN / 2];  // the same; for an in-out B, one for each two column tiles

  __device__ __forceinline__ Reader(int warp_m, int warp_n, int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      a[half] = swizzle_deep(warp_m + (lane & 15), half * 2 + (lane >> 4));
      if constexpr (kOutIn) {
        b[half] = swizzle_deep(warp_n + (lane >> 4) * 8 + (lane & 7), half * 2 + (lane >> 3 & 1));
      }
    }
    if constexpr (!kOutIn) {
#pragma unroll
      for (int j = 0; j < Tile::kMmaN / 2; ++j) {
        b[j] = swizzle_wide<Tile>(lane & 15, warp_n / kChunk + 2 * j + (lane >> 4));
      }
    }
  }

  __device__ __forceinline__ void read(Fragments<Tile>& to, uint32_t part_a, uint32_t part_b, int half) const {
#pragma unroll
    for (int i = 0; i < Tile::kMmaM; ++i) ldmatrix_x4(to.a[i], part_a + a[half] + i * 16 * kBK * 2);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN / 2; ++j) {
      uint32_t two[4];
      if constexpr (kOutIn) {
        ldmatrix_x4(two, part_b + b[half] + j * 16 * kBK * 2);
      } else {
        ldmatrix_x4_trans(two, part_b + b[j] + half * 16 * Tile::kBN * 2);
      }
      to.b[2 * j][0] = two[0];
      to.b[2 * j][1] = two[1];
      to.b[2 * j + 1][0] = two[2];
      to.b[2 * j + 1][1] = two[3];
    }
  }
};

template <class Tile, class T>
__device__ __forceinline__ void multiply(float (&sums)[Tile::kMmaM][Tile::kMmaN][4], const Fragments<Tile>& f) {
#pragma unroll
  for (int i = 0; i < Tile::kMmaM; ++i) {
#pragma unroll
    for (int j = 0; j < Tile::kMmaN; ++j) mma_m16n8k16<T>(sums[i][j], f.a[i], f.b[j]);
  }
}

// The kernel. It calls `epilogue(sums, position, warp_m, warp_n)` with a warp's sums, [kMmaM][kMmaN][4] in the layout
// of mma.
template <class B, class Arguments, class Epilogue>
__device__ __forceinline__ void grouped_gemm(const Arguments& p, const Epilogue& epilogue) {
  using Tile = typename B::Tile;
  constexpr int kStageBytes = Tile::kBytesA + B::kBytes;
  const uint32_t ring = shared_address(dynamic_smem());
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWM;
  const int warp_n = warp % Tile::kWarpsN * Tile::kWN;
  const int count = tile_count<Tile>(p);
  if (static_cast<int>(blockIdx.x) >= count) return;

  Loader<B> loader(p, blockIdx.x, count);
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) {
    loader.load(ring + s * kStageBytes);
    loader.advance();
    cp_async_commit();
  }
  const auto next = [ring](uint32_t stage) {
    return stage == ring + (Tile::kStages - 1) * kStageBytes ? ring : stage + kStageBytes;
  };
  uint32_t reading = ring;
  uint32_t writing = ring + (Tile::kStages - 1) * kStageBytes;

  const Reader<Tile, B::kOutIn> reader(warp_m, warp_n, lane);
  Fragments<Tile> even, odd;
  cp_async_wait<Tile::kStages - 2>();
  loader.b.prepare(reading + Tile::kBytesA);
  __syncthreads();
  reader.read(even, reading, loader.b.prepared(reading + Tile::kBytesA), 0);

  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    float sums[Tile::kMmaM][Tile::kMmaN][4] = {};
    for (int left = p.depth; left > 0; left -= kBK) {
      reader.read(odd, reading, loader.b.prepared(reading + Tile::kBytesA), 1);
      loader.load(writing);
      cp_async_commit();
      writing = next(writing);
      multiply<Tile, typename B::T>(sums, even);
      // After the very last step the same stage is read again, which is harmless and avoids a branch.
      const bool last = left <= kBK && index + static_cast<int>(gridDim.x) >= count;
      reading = last ? reading : next(reading);
      // One barrier per step. After it, the next stage has arrived for every thread, and every warp has read this
      // stage, so that the next copy may overwrite it.
      cp_async_wait<Tile::kStages - 2>();
      loader.b.prepare(reading + Tile::kBytesA);
      __syncthreads();
      reader.read(even, reading, loader.b.prepared(reading + Tile::kBytesA), 0);
      multiply<Tile, typename B::T>(sums, odd);
      loader.advance();
    }
    epilogue(sums, locate<Tile>(p, index), warp_m, warp_n);
    // Again, so that the epilogue can use the registers.
    reader.read(even, reading, loader.b.prepared(reading + Tile::kBytesA), 0);
  }
  cp_async_wait<0>();  // copies of zeros, beyond the last step, may still be in flight
}

}  // namespace yamoe
