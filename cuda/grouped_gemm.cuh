// The grouped GEMM: for each expert, its rows of A times its own B, on tensor cores (mma.sync), for any architecture from
// sm_75 on.
//
//   A  rows of `depth` elements, a multiple of 8 as all sizes are; the rows of a tile are consecutive, or gathered through
//      `row_index` as they are loaded
//   B  [experts][depth][width] ("in-out"), or [experts][width][depth] ("out-in"), as it is
//
// A persistent grid: each block takes every gridDim.x-th tile, and its copies run ahead across the border between two tiles,
// so the tensor cores wait only for the epilogue. Shared memory holds a ring of kStages steps of kBK of the depth, 16-byte
// chunks swizzled so that neither the copies nor ldmatrix meet a bank conflict. All addressing is done before the loop over
// the depth: what is left in it, besides the multiplications, must fit between them.
//
// The chain of additions behind an element of the result is the same in every tile shape: which shape runs, and what else is
// in the batch, does not touch its bits.
#pragma once
#include <ptx.cuh>

#include "element.cuh"

namespace yamoe {

constexpr int kBK = 32;      // depth of one step: two mma.m16n8k16
constexpr int kChunk = 8;    // elements of a 16-byte chunk
constexpr int kRaster = 16;  // row tiles that go along the columns together, to find A in L2

template <int kBM_, int kBN_, int kWarpsM_, int kWarpsN_, int kStages_>
struct Tile {
  static constexpr int kBM = kBM_, kBN = kBN_, kWarpsM = kWarpsM_, kWarpsN = kWarpsN_, kStages = kStages_;
  static constexpr int kThreads = kWarpsM * kWarpsN * 32;
  static constexpr int kWM = kBM / kWarpsM, kWN = kBN / kWarpsN;  // what one warp computes
  static constexpr int kMmaRows = 16, kMmaM = kWM / kMmaRows, kMmaN = kWN / 8;
  static constexpr int kBytesA = kBM * kBK * 2, kBytesB = kBK * kBN * 2, kStageBytes = kBytesA + kBytesB;
  static constexpr int kSharedBytes = kStages * kStageBytes;

  // A pass of all threads copies kThreads chunks: so many rows of A and of B.
  static constexpr int kChunksB = kBN / kChunk;  // of a row
  static constexpr int kRowsA = kThreads / 4 < kBM ? kThreads / 4 : kBM;
  static constexpr int kRowsB = kThreads / kChunksB;
  static constexpr int kPassesA = kBM / kRowsA, kPassesB = kBK / kRowsB;
  static constexpr int kRowsT = kThreads / 4 < kBN ? kThreads / 4 : kBN;  // of a B whose rows are columns
  static constexpr int kPassesT = kBN / kRowsT;

  static_assert(kWM % 16 == 0, "a warp's rows must be whole mma tiles");
  static_assert(kWN == 64, "the epilogue packs the results of eight mma tiles into 16 bytes");
  static_assert(kChunksB % 8 == 0, "the swizzle of B permutes 8 chunks");
  static_assert(kRowsA % 8 == 0 && kBM % kRowsA == 0, "a pass must leave the swizzle of A as it is");
  static_assert(kRowsB * kChunksB == kThreads && kBK % kRowsB == 0, "B's chunks must divide among the threads");
  static_assert((kRowsB & (kRowsB - 1)) == 0, "a pass must change the swizzle of B by an exclusive or");
  static_assert(kRowsT % 8 == 0 && kBN % kRowsT == 0 && kRowsT * 4 == kThreads,
                "the same of a B whose rows are columns");
  static_assert(kPassesA <= 16 && kPassesT <= 16, "a bit for each pass must fit");
  static_assert(kStages >= 2, "a ring needs two stages");
};

// Where a chunk lies in its part of a stage, in bytes. Rows along the depth, of A and of an out-in B, are 64 bytes: two fill
// the 32 banks, so the bits of the row above the lowest permute. Rows of an in-out B are at least 128 bytes: all 8 rows of an
// ldmatrix phase permute.
__device__ __forceinline__ uint32_t swizzle_deep(int row, int chunk) {
  return row * kBK * 2 + ((chunk ^ row >> 1) & 3) * 16;
}
template <class Tile>
__device__ __forceinline__ uint32_t swizzle_wide(int row, int chunk) {
  return row * Tile::kBN * 2 + (chunk ^ (row & 7)) * 16;
}

// The columns of a product, and where in memory each is.
struct Columns {
  int width;  // how many
  int half;   // 0: they are as in memory; else gates and ups alternate that in memory are this far apart

  // The column in memory that column n of the product is. Gates and ups alternate by chunks, so that a copied chunk stays
  // one, or, where each column is a row in memory, by columns.
  template <bool kOutIn>
  __device__ __forceinline__ int source(int n) const {
    if (!half) return n;
    if (kOutIn) return (n & 1) * half + (n >> 1);
    return (n & kChunk ? half : 0) + n / (2 * kChunk) * kChunk + n % kChunk;
  }
};

// The problem, as the kernels get it.
template <class T>
struct Problem {
  const T* a;
  const T* b;
  const int* row_index;     // the row of A behind each row, or null where they are the same
  const int* row_offsets;   // [experts + 1]
  const int* tile_offsets;  // [experts + 1]
  int experts, depth;
  Columns columns;
};

// A product's kernel gets, beside the Problem, `bias` [experts][width] or null; `row_scales` [rows], what the sums of each row
// are multiplied by before that is added, or null; where the results go; and the Activation. `weights` is how it gets B.
#define YAMOE_PRODUCT_PARAMETERS(T, weights)                                                                         \
  const T *a, weights, const T *bias, T *out, const int *row_index, const float *row_scales, const int *row_offsets, \
      const int *tile_offsets, int experts, int depth, int width, int half, int kind, float alpha, float limit,      \
      float shift
#define YAMOE_PROBLEM(b)                                                        \
  {                                                                             \
    a, b, row_index, row_offsets, tile_offsets, experts, depth, { width, half } \
  }
#define YAMOE_ACTIVATION \
  { kind, alpha, limit, shift }

// One tile: at most kBM rows from `row`, columns from `column`.
struct TilePosition {
  int expert, row, row_end, column;
};

template <class Tile, class T>
__device__ __forceinline__ int tile_count(const Problem<T>& p) {
  return p.tile_offsets[p.experts] * ((p.columns.width + Tile::kBN - 1) / Tile::kBN);
}

// The position of a tile. An expert's tiles follow each other; within it, kRaster row tiles go along the columns together.
template <class Tile, class T>
__device__ __forceinline__ TilePosition locate(const Problem<T>& p, int index) {
  const int column_tiles = (p.columns.width + Tile::kBN - 1) / Tile::kBN;
  const int row_tile = index / column_tiles;
  int e = 0;
  for (int upper = p.experts; upper - e > 1;) {
    const int middle = (e + upper) >> 1;
    if (p.tile_offsets[middle] <= row_tile) {
      e = middle;
    } else {
      upper = middle;
    }
  }
  const int first = p.tile_offsets[e];
  const int row_tiles = p.tile_offsets[e + 1] - first;
  const int local = index - first * column_tiles;
  const int group = local / (kRaster * column_tiles);
  const int height = min(kRaster, row_tiles - group * kRaster);
  const int rest = local - group * kRaster * column_tiles;
  const int m = group * kRaster + rest % height;
  const int n = rest / height;
  return {e, p.row_offsets[e] + m * Tile::kBM, p.row_offsets[e + 1], n * Tile::kBN};
}

// Copies the steps of one tile after the other into the ring, some steps ahead of the multiplication.
template <class Tile, bool kOutIn, class T>
struct Loader {
  const Problem<T>& p;
  const int count;
  const int chunk;                    // of a row along the depth: what the thread copies of each
  const int row_b;                    // of an in-out B: the thread copies a chunk of it and of each kRowsB below it
  const uint32_t offset_a, offset_b;  // where to, in a stage
  int index, left;                    // the tile, and the depth of it that is not copied yet
  uint32_t live;  // which of the thread's rows exist: of A, and, 16 bits up, of an out-in B; or, for an
                  // in-out B, in the sign bit, whether the thread's columns do
  const T* a[Tile::kPassesA];
  const T* b;

  __device__ __forceinline__ Loader(const Problem<T>& problem, int first, int tiles)
      : p(problem),
        count(tiles),
        chunk(threadIdx.x % 4),
        row_b(threadIdx.x / Tile::kChunksB),
        offset_a(swizzle_deep(threadIdx.x / 4 % Tile::kRowsA, chunk)),
        offset_b(Tile::kBytesA + (kOutIn ? swizzle_deep(threadIdx.x / 4, chunk)
                                         : swizzle_wide<Tile>(row_b, threadIdx.x % Tile::kChunksB))),
        index(first),
        left(0),
        live(0) {
    aim();
  }

  // Points at the present tile; after the last there is nothing to copy.
  __device__ __forceinline__ void aim() {
    if (index >= count) return;
    left = p.depth;
    const TilePosition at = locate<Tile>(p, index);
    const Columns& columns = p.columns;
    if constexpr (kOutIn) {
      const int n = at.column + static_cast<int>(threadIdx.x) / 4;
      live = 0;
#pragma unroll
      for (int i = 0; i < Tile::kPassesT; ++i)
        live |= static_cast<uint32_t>(n + i * Tile::kRowsT < columns.width) << (16 + i);
      b = p.b + (static_cast<size_t>(at.expert) * columns.width + columns.source<kOutIn>(n)) * p.depth + chunk * kChunk;
    } else {
      const int n = at.column + static_cast<int>(threadIdx.x) % Tile::kChunksB * kChunk;
      live = n < columns.width ? 0x80000000u : 0;
      const int column = live ? columns.source<kOutIn>(n) : 0;
      b = p.b + (static_cast<size_t>(at.expert) * p.depth + row_b) * columns.width + column;
    }
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      const int row = at.row + static_cast<int>(threadIdx.x) / 4 % Tile::kRowsA + i * Tile::kRowsA;
      const bool exists = row < at.row_end;
      const int source = exists ? row : at.row;
      a[i] = p.a + static_cast<size_t>(p.row_index ? p.row_index[source] : source) * p.depth + chunk * kChunk;
      live |= static_cast<uint32_t>(exists) << i;
    }
  }

  // Copies the next step to a stage: zeros for rows and columns that are not there, past the depth, and where nothing is left.
  // (To copy some other row instead costs more: a hundred threads after the same one queue up in L2.) No branch, so that the
  // copies can stand between multiplications.
  __device__ __forceinline__ void load(uint32_t stage) {
    const uint32_t rows = chunk * kChunk < left ? live : 0;  // the depth is a multiple of a chunk
#pragma unroll
    for (int i = 0; i < Tile::kPassesA; ++i) {
      cp_async_16(stage + offset_a + i * Tile::kRowsA * kBK * 2, a[i], (rows >> i & 1) * 16);
      a[i] += kBK;
    }
    if constexpr (kOutIn) {
      const int pass = p.columns.half ? Tile::kRowsT / 2 : Tile::kRowsT;  // rows from one pass to the next, in memory
#pragma unroll
      for (int i = 0; i < Tile::kPassesT; ++i) {
        const T* const from = b + static_cast<size_t>(i * pass) * p.depth;
        cp_async_16(stage + offset_b + i * Tile::kRowsT * kBK * 2, from, (rows >> (16 + i) & 1) * 16);
      }
      b += kBK;
    } else {
      const int depth_b = static_cast<int>(live) < 0 ? left : 0;
#pragma unroll
      for (int i = 0; i < Tile::kPassesB; ++i) {
        const T* const from = b + static_cast<size_t>(i * Tile::kRowsB) * p.columns.width;
        // Fewer rows than 8 in a pass: the next pass has the row's upper bits in its swizzle.
        const uint32_t to = (offset_b ^ (i * Tile::kRowsB & 7) * 16) + i * Tile::kRowsB * Tile::kBN * 2;
        cp_async_16(stage + to, from, row_b + i * Tile::kRowsB < depth_b ? 16 : 0);
      }
      b += static_cast<size_t>(kBK) * p.columns.width;
    }
    left -= kBK;
  }

  // Moves on to the next tile once this one is copied.
  __device__ __forceinline__ void advance() {
    if (left > 0 || index >= count) return;
    index += gridDim.x;
    aim();
  }
};

// A warp's operands for one mma.m16n8k16 of the depth.
template <class Tile>
struct Fragments {
  uint32_t a[Tile::kMmaM][4];
  uint32_t b[Tile::kMmaN][2];
};

// Where a lane reads its operands in a stage.
template <class Tile, bool kOutIn>
struct Reader {
  uint32_t a[2];                             // for the first and the second half of a step
  uint32_t b[kOutIn ? 2 : Tile::kMmaN / 2];  // the same; of an in-out B, for two column tiles each

  __device__ __forceinline__ Reader(int warp_m, int warp_n, int lane) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      a[half] = swizzle_deep(warp_m + (lane & 15), half * 2 + (lane >> 4));
      if constexpr (kOutIn) {
        b[half] = Tile::kBytesA + swizzle_deep(warp_n + (lane >> 4) * 8 + (lane & 7), half * 2 + (lane >> 3 & 1));
      }
    }
    if constexpr (!kOutIn) {
#pragma unroll
      for (int j = 0; j < Tile::kMmaN / 2; ++j) {
        b[j] = Tile::kBytesA + swizzle_wide<Tile>(lane & 15, warp_n / kChunk + 2 * j + (lane >> 4));
      }
    }
  }

  __device__ __forceinline__ void read(Fragments<Tile>& to, uint32_t stage, int half) const {
#pragma unroll
    for (int i = 0; i < Tile::kMmaM; ++i) ldmatrix_x4(to.a[i], stage + a[half] + i * 16 * kBK * 2);
#pragma unroll
    for (int j = 0; j < Tile::kMmaN / 2; ++j) {
      uint32_t two[4];
      if constexpr (kOutIn) {
        ldmatrix_x4(two, stage + b[half] + j * 16 * kBK * 2);
      } else {
        ldmatrix_x4_trans(two, stage + b[j] + half * 16 * Tile::kBN * 2);
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

// The whole kernel. `epilogue(sums, position, warp_m, warp_n)` gets a warp's sums, [kMmaM][kMmaN][4] in mma's layout.
template <class Tile, bool kOutIn, class T, class Epilogue>
__device__ __forceinline__ void grouped_gemm(const Problem<T>& p, const Epilogue& epilogue) {
  const uint32_t ring = shared_address(dynamic_smem());
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  const int warp_m = warp / Tile::kWarpsN * Tile::kWM;
  const int warp_n = warp % Tile::kWarpsN * Tile::kWN;
  const int count = tile_count<Tile>(p);
  if (static_cast<int>(blockIdx.x) >= count) return;

  Loader<Tile, kOutIn, T> loader(p, blockIdx.x, count);
#pragma unroll
  for (int s = 0; s < Tile::kStages - 1; ++s) {
    loader.load(ring + s * Tile::kStageBytes);
    loader.advance();
    cp_async_commit();
  }
  const auto next = [ring](uint32_t stage) {
    return stage == ring + (Tile::kStages - 1) * Tile::kStageBytes ? ring : stage + Tile::kStageBytes;
  };
  uint32_t reading = ring;
  uint32_t writing = ring + (Tile::kStages - 1) * Tile::kStageBytes;

  const Reader<Tile, kOutIn> reader(warp_m, warp_n, lane);
  Fragments<Tile> even, odd;
  cp_async_wait<Tile::kStages - 2>();
  __syncthreads();
  reader.read(even, reading, 0);

  for (int index = blockIdx.x; index < count; index += gridDim.x) {
    float sums[Tile::kMmaM][Tile::kMmaN][4] = {};
    for (int left = p.depth; left > 0; left -= kBK) {
      reader.read(odd, reading, 1);
      loader.load(writing);
      cp_async_commit();
      writing = next(writing);
      multiply<Tile, T>(sums, even);
      // One barrier a step. It says that the next stage has landed, for every thread, and that this one has been read, by
      // every warp, so that the next copy may overwrite it.
      cp_async_wait<Tile::kStages - 2>();
      __syncthreads();
      // After the very last step there is no next stage; reading this one again is harmless and spares a branch.
      const bool last = left <= kBK && index + static_cast<int>(gridDim.x) >= count;
      reading = last ? reading : next(reading);
      reader.read(even, reading, 0);
      multiply<Tile, T>(sums, odd);
      loader.advance();
    }
    epilogue(sums, locate<Tile>(p, index), warp_m, warp_n);
    reader.read(even, reading, 0);  // again, so that the epilogue may use its registers
  }
  cp_async_wait<0>();  // the ring was refilled with zeros past the last step: nothing may be in flight at the end
}

}  // namespace yamoe
