#pragma once
#include <utility>
#include "boxes.cuh"
#include "rows_ptx.cuh"

namespace yamoe {

struct RowsTile {
  static constexpr int kBM = 256, kBN = 192, kStages = 4;
  static constexpr int kBK = 64;
  static constexpr int kConsumers = 3, kProducers = 1;
  static constexpr int kConsumerRegisters = 160, kProducerRegisters = 32;
  static constexpr int kThreads = (kConsumers + kProducers) * 128;
  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesW = kBN * kRowBytes, kBytesR = kBM * kRowBytes, kStageBytes = kBytesW + kBytesR;
  static constexpr int kStrip = 64, kStripBytes = kStrip * kRowBytes;
  static constexpr int kTableBytes = kBM * 8;
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSlots = 8;
  static constexpr int kTaken = kEmpty + kStages * 8, kTickets = kTaken + kSlots * 8;
  static constexpr int kSharedBytes = kTickets + kSlots * 16;
  static constexpr int kPassRows = kProducers * 16, kPasses = kBM / kPassRows;
  static constexpr int kBoxRows = 32;
  static_assert(kSharedBytes <= 227 * 1024, "");
  static __device__ __forceinline__ int width_of(int rows) {
    return rows > 128 ? (rows + 15) & ~15 : (rows + 31) & ~31;
  }
};

using Tile_ = RowsTile;

__device__ __forceinline__ TilePosition locate_rows(const TilePosition& at, const int* tile_offsets, const int* row_offsets) {
  const int begin = row_offsets[at.expert], rows = at.row_end - begin;
  const int tiles = tile_offsets[at.expert + 1] - tile_offsets[at.expert];
  const int even = RowsTile::width_of((rows + tiles - 1) / tiles);
  const int row = begin + (at.row - begin) / RowsTile::kBM * even;
  return {at.expert, row, min(row + even, at.row_end), at.column};
}
template <class P>
__device__ __forceinline__ TilePosition locate_rows(const P& p, int index) {
  return locate_rows(locate<RowsTile>(p, index), p.tile_offsets, p.row_offsets);
}

__device__ __forceinline__ void pass_ticket(uint32_t n, int ticket, int count) {
  using Tile = RowsTile;
  unsigned char* const smem = dynamic_smem();
  reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4] = ticket < count ? ticket : -1;
  mbarrier_arrive(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8);
}
__device__ __forceinline__ int receive_ticket(uint32_t n) {
  using Tile = RowsTile;
  unsigned char* const smem = dynamic_smem();
  mbarrier_wait(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8, n / Tile::kSlots % 2);
  return reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4];
}
__device__ __forceinline__ int take_ticket(int* counter, int count) {
  const int taken = atomicAdd(counter, 1);
  if (taken == count - 1) *counter = 0;
  return taken + static_cast<int>(gridDim.x);
}

template <WeightLayout kLayout>
struct RowsWeightBoxes {
  const TensorMap& map;
  int expert, column;

  template <class T>
  __device__ __forceinline__ void aim(const TilePosition& at, const Product<T>& p) {
    expert = at.expert;
    column = kLayout == WeightLayout::kOutIn ? at.column / (p.gated ? 16 : 8) : at.column;
  }
  __device__ __forceinline__ void copy(uint32_t to, uint32_t full, int k) const {
    if constexpr (kLayout == WeightLayout::kOutIn) {
      bulk_copy_5d(to, map, full, k, 0, 0, column, expert);
    } else {
#pragma unroll
      for (int s = 0; s < 3; ++s) bulk_copy_5d(to + s * RowsTile::kStripBytes, map, full, column + s * 64, k, 0, 0, expert);
    }
  }
};

template <WeightLayout kLayout_, class T_>
struct RowsGatheringLoader {
  using Tile = RowsTile;
  using T = T_;
  using Arguments = BoxedArguments<T>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = Tile::kProducers * 128;
  static constexpr int kArrivals = kThreads + 1;

  const Product<T>& p;
  RowsWeightBoxes<kLayout> weights;
  const T** const rows;
  const uint32_t offset;
  int passes;

  __device__ __forceinline__ RowsGatheringLoader(const Product<T>& product, const Arguments& arguments, void* table)
      : p(product),
        weights{arguments.weights},
        rows(static_cast<const T**>(table) + thread() / 32 * (4 * Tile::kPasses)),
        offset(thread() / 8 * Tile::kRowBytes + (thread() % 8 ^ thread() / 8 % 8) * 16) {}
  static __device__ __forceinline__ int thread() { return threadIdx.x - Tile::kConsumers * 128; }
  static __device__ __forceinline__ void prefetch(const Arguments& arguments) { prefetch_tensor_map(arguments.weights); }

  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at, p);
    __syncwarp();
    const int count = at.row_end - at.row, width = Tile::width_of(count);
    passes = width / Tile::kPassRows;
#pragma unroll 1
    for (int i = thread() % 32; i < 4 * passes; i += 32) {
      const int own = i / 4 * Tile::kPassRows + thread() / 32 * 4 + i % 4;
      const int r = at.row + (own < count ? own : own * count / Tile::kBM);
      rows[i] = p.input + static_cast<size_t>(p.row_index[r]) * p.depth;
    }
    __syncwarp();
  }
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    if (thread() == 0) {
      mbarrier_arrive_expecting(full, Tile::kBytesW);
      weights.copy(stage, full, k);
    }
    const int own = k + thread() % 8 * kChunk;
    const int deep = own < p.depth ? 16 : 0;
    const int at = deep ? own : 0;
    uint32_t to = stage + Tile::kBytesW + offset;
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

template <WeightLayout kLayout_, class T_>
struct RowsBoxLoader {
  using Tile = RowsTile;
  using T = T_;
  using Arguments = BoxedRowsArguments<T>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = 1, kArrivals = 1;

  const Product<T>& p;
  RowsWeightBoxes<kLayout> weights;
  const TensorMap& rows;
  int row, boxes;

  __device__ __forceinline__ RowsBoxLoader(const Product<T>& product, const Arguments& arguments, void*)
      : p(product), weights{arguments.weights}, rows(arguments.rows) {}
  static __device__ __forceinline__ void prefetch(const Arguments& arguments) {
    prefetch_tensor_map(arguments.weights);
    prefetch_tensor_map(arguments.rows);
  }
  __device__ __forceinline__ void aim(const TilePosition& at) {
    weights.aim(at, p);
    row = at.row;
    boxes = (at.row_end - at.row + Tile::kBoxRows - 1) / Tile::kBoxRows;
  }
  __device__ __forceinline__ void load(uint32_t stage, uint32_t full, int k) const {
    constexpr int kBoxBytes = Tile::kBoxRows * Tile::kRowBytes;
    mbarrier_arrive_expecting(full, Tile::kBytesW + boxes * kBoxBytes);
    weights.copy(stage, full, k);
    for (int i = 0; i < boxes; ++i) {
      bulk_copy_4d(stage + Tile::kBytesW + i * kBoxBytes, rows, full, k, row + i * Tile::kBoxRows, 0, 0);
    }
  }
  __device__ __forceinline__ void finish() const {}
};

using RowsSums = float[32][4];

// kTiles: rows / 8. 0: only releases.
template <int kTiles, class Loader>
__device__ __forceinline__ void multiply_rows(RowsSums& sums, uint32_t ring, RingPlace<RowsTile>& place, int depth, int strip) {
  using Tile = RowsTile;
  constexpr bool kOutIn = Loader::kLayout == WeightLayout::kOutIn;
  const auto release = [&] {
    __syncwarp();
    const int before = place.stage == 0 ? Tile::kStages - 1 : place.stage - 1;
    if (threadIdx.x % 32 == 0) mbarrier_arrive(ring + Tile::kEmpty + before * 8);
  };
#pragma unroll 1
  for (int k = 0; k < depth; k += Tile::kBK) {
    mbarrier_wait(ring + Tile::kFull + place.stage * 8, place.round);
    if constexpr (kTiles > 0) {
      if constexpr (Loader::kThreads > 1) fence_async_proxy();
      const uint32_t w = ring + place.stage * Tile::kStageBytes + strip * Tile::kStripBytes;
      const uint32_t r = ring + place.stage * Tile::kStageBytes + Tile::kBytesW;
      const uint64_t weights = wgmma_descriptor(w, 0, Tile::kRowBytes), rows = wgmma_descriptor(r, 0, Tile::kRowBytes);
      wgmma_fence();
#pragma unroll
      for (int step = 0; step < Tile::kBK / 16; ++step) {
        constexpr int kFirst = kTiles > 16 ? 16 : kTiles;
        const uint64_t w16 = weights + (kOutIn ? step * 2 : step * 16 * Tile::kRowBytes / 16);
        wgmma_tiles<typename Loader::T, !kOutIn, kFirst>(sums, w16, rows + step * 2);
        if constexpr (kTiles > 16) {
          wgmma_tiles<typename Loader::T, !kOutIn, kTiles - kFirst>(sums + kFirst, w16, rows + step * 2 + kFirst * 64);
        }
      }
      wgmma_commit();
      wgmma_wait_groups<1>();
    }
    if (k > 0) release();
    place.next();
  }
  if constexpr (kTiles > 0) {
    wgmma_wait_groups<0>();
    sums_are_complete<32>(sums);
  }
  release();
}

template <class Loader, int... kMore>
__device__ __forceinline__ void multiply_width(int tiles, RowsSums& sums, uint32_t ring, RingPlace<RowsTile>& place, int depth,
                                               int strip, std::integer_sequence<int, kMore...>) {
  const bool done = ((tiles == kMore ? (multiply_rows<kMore, Loader>(sums, ring, place, depth, strip), true) : false) || ...);
  (void)done;
}

template <class Loader, class Epilogue>
__device__ __forceinline__ void rows_gemm(const typename Loader::Arguments& arguments, const Epilogue& epilogue) {
  using Tile = RowsTile;
  using T = typename Loader::T;
  const Product<T> p = arguments;
  const uint32_t ring = shared_address(dynamic_smem());
  const uint32_t full = ring + Tile::kFull, empty = ring + Tile::kEmpty;
  if (threadIdx.x == 0) {
    Loader::prefetch(arguments);
    for (int s = 0; s < Tile::kStages; ++s) {
      mbarrier_init(full + s * 8, Loader::kArrivals);
      mbarrier_init(empty + s * 8, Tile::kConsumers * 4);
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
    if (leads) pass_ticket(0, static_cast<int>(blockIdx.x), count);
    int index;
    for (uint32_t n = 0; (index = receive_ticket(n)) >= 0; ++n) {
      loader.aim(locate_rows(p, index));
      for (int k = 0; k < p.depth; k += Tile::kBK) {
        mbarrier_wait(empty + place.stage * 8, place.round ^ 1);
        loader.load(ring + place.stage * Tile::kStageBytes, full + place.stage * 8, k);
        place.next();
      }
      if (leads) pass_ticket(n + 1, take_ticket(arguments.counters, count), count);
    }
    loader.finish();
  } else {
    set_more_registers<Tile::kConsumerRegisters>();
    const int strip = threadIdx.x / 128;
    int index;
    for (uint32_t n = 0; (index = receive_ticket(n)) >= 0; ++n) {
      const TilePosition at = locate_rows(p, index);
      RowsSums sums = {};
      const bool exists = at.column + strip * Tile::kStrip < p.columns.width;
      multiply_width<Loader>(exists ? Tile::width_of(at.row_end - at.row) / 8 : 0, sums, ring, place, p.depth, strip,
                             std::integer_sequence<int, 0, 4, 8, 12, 16, 18, 20, 22, 24, 26, 28, 30, 32>{});
      if (exists) epilogue(sums, at, strip * Tile::kStrip + threadIdx.x % 128 / 32 * 16);
    }
  }
}

// Stores 8 results of a row. Register t of lane q has the results 2 q and 2 q + 1 (pairs), or q and q + 4, of row l / 4 of a
// matrix t.
template <class T>
__device__ __forceinline__ void store_eight(T* to, bool exists, uint32_t (&v)[4], bool pairs) {
  const uint4 packed = pairs ? make_uint4(v[0], v[1], v[2], v[3])
                             : make_uint4(__byte_perm(v[0], v[1], 0x5410), __byte_perm(v[2], v[3], 0x5410),
                                          __byte_perm(v[0], v[1], 0x7632), __byte_perm(v[2], v[3], 0x7632));
  if (exists) *reinterpret_cast<uint4*>(to) = packed;
}

template <WeightLayout kLayout, class T>
struct RowsStorePlain {
  const Product<T>& p;
  __device__ __forceinline__ void operator()(RowsSums& sums, const TilePosition& at, int warp) const {
    const int lane = threadIdx.x % 32, width = p.columns.width;
    const int n = at.column + warp + lane / 4;
    const T* const own = p.bias + static_cast<size_t>(at.expert) * width;
    const float low = p.bias && n < width ? widen(own[n]) : 0.0f, high = p.bias && n + 8 < width ? widen(own[n + 8]) : 0.0f;
    const int rows = at.row_end - at.row;
    const int column = at.column + warp + (lane & 1) * 8;
    int row = (lane % 4 / 2) * 8 + lane / 4;
    T* to = p.out + static_cast<size_t>(at.row + row) * width + column;
#pragma unroll
    for (int j = 0; j < 32; j += 2) {
      if (j * 8 >= rows) break;
      keep_order();
      uint32_t v[4];
#pragma unroll
      for (int t = 0; t < 2; ++t) {
        float(&s)[4] = sums[j + t];
        if (p.row_scales) {
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            const int r = at.row + (j + t) * 8 + lane % 4 * 2 + h;
            const float scale = r < at.row_end ? p.row_scales[r] : 1.0f;
            s[h] = __fmul_rn(s[h], scale);
            s[2 + h] = __fmul_rn(s[2 + h], scale);
          }
        }
        v[2 * t] = transpose_8x8(pack2<T>(s[0] + low, s[1] + low));
        v[2 * t + 1] = transpose_8x8(pack2<T>(s[2] + high, s[3] + high));
      }
      transpose_quad(v, lane);
      store_eight(to, j * 8 + row < rows && column < width, v, true);
      to += static_cast<size_t>(16) * width;
    }
  }
};

template <WeightLayout kLayout, class T>
struct RowsStoreGated {
  const Product<T>& p;
  __device__ __forceinline__ void operator()(RowsSums& sums, const TilePosition& at, int warp) const {
    constexpr bool kTogether = kLayout == WeightLayout::kOutIn;  // a thread has a gate and its up value
    const int lane = threadIdx.x % 32, half = p.columns.width / 2;
    const bool odd = lane & 4;
    const int first = (at.column + warp) / 2;
    const int n = first + (kTogether ? lane / 4 : lane / 8 + (odd ? 4 : 0));
    float gate_bias = 0.0f, up_bias = 0.0f;
    if (p.bias && n < half) {
      const T* const own = p.bias + static_cast<size_t>(at.expert) * p.columns.width;
      gate_bias = widen(own[p.columns.half ? n : 2 * n]);
      up_bias = widen(own[p.columns.half ? half + n : 2 * n + 1]);
    }
    const int rows = at.row_end - at.row;
    const int row = lane % 4 * 8 + lane / 4;
    T* to = p.out + static_cast<size_t>(at.row + row) * half + first;
#pragma unroll
    for (int j = 0; j < 32; j += 4) {
      if (j * 8 >= rows) break;
      keep_order();
      uint32_t v[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        float(&s)[4] = sums[j + t];
        float x[2];
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float gate = s[h], up = s[2 + h];
          if constexpr (!kTogether) {
            const float other = __shfl_xor_sync(0xffffffffu, odd ? gate : up, 4);
            if (odd) {
              gate = other;
            } else {
              up = other;
            }
          }
          if (p.row_scales) {
            const int r = at.row + (j + t) * 8 + lane % 4 * 2 + h;
            const float scale = r < at.row_end ? p.row_scales[r] : 1.0f;
            gate = __fmul_rn(gate, scale);
            up = __fmul_rn(up, scale);
          }
          x[h] = gated_swish(gate + gate_bias, up + up_bias, p.activation);
        }
        v[t] = transpose_8x8(pack2<T>(x[0], x[1]));
      }
      transpose_quad(v, lane);
      store_eight(to, j * 8 + row < rows && first < half, v, kTogether);
      to += static_cast<size_t>(32) * half;
    }
  }
};

}  // namespace yamoe
