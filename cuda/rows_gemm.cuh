#pragma once
#include <utility>
#include "boxes.cuh"
#include "rows_ptx.cuh"

namespace yamoe {

template <int kConsumers_, int kStrips_, int kBM_, int kProducers_, int kConsumerRegisters_, int kProducerRegisters_>
struct RowsTile {
  static constexpr int kConsumers = kConsumers_, kStrips = kStrips_, kProducers = kProducers_;
  static constexpr int kBM = kBM_, kBN = 64 * kConsumers * kStrips;
  static constexpr int kBK = 64;
  static constexpr int kConsumerRegisters = kConsumerRegisters_, kProducerRegisters = kProducerRegisters_;
  static constexpr int kThreads = (kConsumers + kProducers) * 128;
  static constexpr int kRowBytes = kBK * 2;
  static constexpr int kBytesW = kBN * kRowBytes, kBytesR = kBM * kRowBytes, kStageBytes = kBytesW + kBytesR;
  static constexpr int kStrip = 64, kStripBytes = kStrip * kRowBytes;
  static constexpr int kTableBytes = kBM * 8;
  static constexpr int kStages = (227 * 1024 - kTableBytes - 256) / (kStageBytes + 16);
  static constexpr int kTable = kStages * kStageBytes, kFull = kTable + kTableBytes, kEmpty = kFull + kStages * 8;
  static constexpr int kSlots = 8;
  static constexpr int kTaken = kEmpty + kStages * 8, kTickets = kTaken + kSlots * 8;
  static constexpr int kSharedBytes = kTickets + kSlots * 16;
  static constexpr int kPassRows = kProducers * 16, kPasses = kBM / kPassRows;
  static constexpr int kBoxRows = 32;
  static_assert(kSharedBytes <= 227 * 1024 && kSlots >= kStages + 2, "");
  static __device__ __forceinline__ int width_of(int rows) {
    return rows > 128 ? (rows + 15) & ~15 : (rows + 31) & ~31;
  }
};

template <class RowsTile>
__device__ __forceinline__ TilePosition locate_rows(const TilePosition& at, const int* tile_offsets, const int* row_offsets) {
  const int begin = row_offsets[at.expert], rows = at.row_end - begin;
  const int tiles = tile_offsets[at.expert + 1] - tile_offsets[at.expert];
  const int even = RowsTile::width_of((rows + tiles - 1) / tiles);
  const int row = begin + (at.row - begin) / RowsTile::kBM * even;
  return {at.expert, row, min(row + even, at.row_end), at.column};
}
template <class RowsTile, class P>
__device__ __forceinline__ TilePosition locate_rows(const P& p, int index) {
  return locate_rows<RowsTile>(locate<RowsTile>(p, index), p.tile_offsets, p.row_offsets);
}

template <class Tile>
__device__ __forceinline__ void pass_ticket(uint32_t n, int ticket, int count) {
  unsigned char* const smem = dynamic_smem();
  reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4] = ticket < count ? ticket : -1;
  mbarrier_arrive(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8);
}
template <class Tile>
__device__ __forceinline__ int receive_ticket(uint32_t n) {
  unsigned char* const smem = dynamic_smem();
  mbarrier_wait(shared_address(smem) + Tile::kTaken + n % Tile::kSlots * 8, n / Tile::kSlots % 2);
  return reinterpret_cast<int*>(smem + Tile::kTickets)[n % Tile::kSlots * 4];
}
__device__ __forceinline__ int take_ticket(int* counter, int count) {
  const int taken = atomicAdd(counter, 1);
  if (taken == count - 1) *counter = 0;
  return taken + static_cast<int>(gridDim.x);
}

template <class Tile, WeightLayout kLayout, bool kGated>
struct RowsWeightBoxes {
  const TensorMap& map;
  int expert, column;
  static constexpr int second = kLayout == WeightLayout::kInOut || !kGated ? 64 * Tile::kConsumers : 0;

  template <class T>
  __device__ __forceinline__ void aim(const TilePosition& at, const Product<T>& p) {
    expert = at.expert;
    if constexpr (Tile::kStrips == 1 && kLayout == WeightLayout::kOutIn) {
      const int per = kGated && !p.columns.half ? 16 : 8;
      column = at.column / (kGated ? 16 : 8) + expert * (p.columns.width / per);
    } else if (kLayout == WeightLayout::kInOut || !kGated) {
      column = at.column;
    } else {
      column = at.column / 2;
    }
  }
  __device__ __forceinline__ void copy(uint32_t to, uint32_t full, int k) const {
    if constexpr (kLayout == WeightLayout::kOutIn && Tile::kStrips == 1) {
      bulk_copy_4d(to, map, full, k, 0, 0, column);
    } else if constexpr (kLayout == WeightLayout::kOutIn) {
#pragma unroll
      for (int i = 0; i < Tile::kStrips; ++i) {
        bulk_copy_4d(to + i * Tile::kConsumers * Tile::kStripBytes, map, full, k, second ? 0 : i, column + second * i, expert);
      }
    } else {
#pragma unroll
      for (int i = 0; i < Tile::kStrips; ++i) {
#pragma unroll
        for (int s = 0; s < Tile::kConsumers; ++s)
          bulk_copy_4d(to + (i * Tile::kConsumers + s) * Tile::kStripBytes, map, full, column + second * i + s * 64, k, second ? 0 : i, expert);
      }
    }
  }
};

template <class Tile_, WeightLayout kLayout_, class T_>
struct RowsGatheringLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedArguments<T>;
  using Boxes = RowsWeightBoxes<Tile, kLayout_, true>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = Tile::kProducers * 128;
  static constexpr int kArrivals = kThreads + 1;

  const Product<T>& p;
  Boxes weights;
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

template <class Tile_, WeightLayout kLayout_, class T_>
struct RowsBoxLoader {
  using Tile = Tile_;
  using T = T_;
  using Arguments = BoxedRowsArguments<T>;
  using Boxes = RowsWeightBoxes<Tile, kLayout_, false>;
  static constexpr WeightLayout kLayout = kLayout_;
  static constexpr int kThreads = 1, kArrivals = 1;

  const Product<T>& p;
  Boxes weights;
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

template <class Tile>
using RowsSums = float[Tile::kStrips][Tile::kBM / 8][4];

// kTiles: rows / 8. 0: only releases.
template <int kTiles, class Loader, class Tile = typename Loader::Tile>
__device__ __forceinline__ void multiply_rows(RowsSums<Tile>& sums, uint32_t ring, RingPlace<Tile>& place, int depth, int strip) {
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
        constexpr int kFirst = kTiles > (Tile::kBM > 192 ? 16 : 24) ? 16 : kTiles;
#pragma unroll
        for (int i = 0; i < Tile::kStrips; ++i) {
          const uint64_t w16 = weights + i * (Tile::kConsumers * Tile::kStripBytes / 16) + (kOutIn ? step * 2 : step * Tile::kRowBytes);
          wgmma_tiles<typename Loader::T, !kOutIn, kFirst>(sums[i], w16, rows + step * 2);
          if constexpr (kTiles > kFirst) {
            wgmma_tiles<typename Loader::T, !kOutIn, kTiles - kFirst>(sums[i] + kFirst, w16, rows + step * 2 + kFirst * 64);
          }
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
    sums_are_complete(sums);
  }
  release();
}

template <class Loader, class Tile, int... kMore>
__device__ __forceinline__ void multiply_width(int tiles, RowsSums<Tile>& sums, uint32_t ring, RingPlace<Tile>& place, int depth,
                                               int strip, std::integer_sequence<int, kMore...>) {
  const bool done = ((tiles == kMore ? (multiply_rows<kMore <= Tile::kBM / 8 ? kMore : 0, Loader>(sums, ring, place, depth, strip), true) : false) || ...);
  (void)done;
}

template <class Loader, class Epilogue>
__device__ __forceinline__ void rows_gemm(const typename Loader::Arguments& arguments, const Epilogue& epilogue) {
  using Tile = typename Loader::Tile;
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
    if (leads) pass_ticket<Tile>(0, static_cast<int>(blockIdx.x), count);
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      loader.aim(locate_rows<Tile>(p, index));
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
    const int strip = threadIdx.x / 128;
    int index;
    for (uint32_t n = 0; (index = receive_ticket<Tile>(n)) >= 0; ++n) {
      const TilePosition at = locate_rows<Tile>(p, index);
      RowsSums<Tile> sums = {};
      const int first = Tile::kStrips == 2 && !Epilogue::kInterleaved && p.gated ? at.column / 2 : at.column;
      const int last = Tile::kStrips == 2 && !Epilogue::kInterleaved && p.gated ? p.columns.width / 2 : p.columns.width;
      const bool exists = first + strip * Tile::kStrip < last;
      multiply_width<Loader, Tile>(exists ? Tile::width_of(at.row_end - at.row) / 8 : 0, sums, ring, place, p.depth, strip,
                             std::integer_sequence<int, 0, 4, 8, 12, 16, 18, 20, 22, 24, 26, 28, 30, 32>{});
      if (exists) epilogue(sums, at, first + strip * Tile::kStrip + threadIdx.x % 128 / 32 * 16);
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

// Calls `pairs(j, values)` for each 8 rows: values[h] are the packed results of the outputs l / 4 + 8 h.
template <int kTiles, class T, class Values>
__device__ __forceinline__ void store_sixteen(T* out, const TilePosition& at, int column, int width, const Values& values) {
  const int lane = threadIdx.x % 32, rows = at.row_end - at.row, row = (lane % 4 / 2) * 8 + lane / 4;
  column += (lane & 1) * 8;
  T* to = out + static_cast<size_t>(at.row + row) * width + column;
#pragma unroll
  for (int j = 0; j < kTiles; j += 2) {
    if (j * 8 >= rows) break;
    keep_order();
    uint32_t v[4];
#pragma unroll
    for (int t = 0; t < 2; ++t) {
      float x[4];
      values(j + t, x);
      v[2 * t] = transpose_8x8(pack2<T>(x[0], x[1]));
      v[2 * t + 1] = transpose_8x8(pack2<T>(x[2], x[3]));
    }
    transpose_quad(v, lane);
    store_eight(to, j * 8 + row < rows && column < width, v, true);
    to += static_cast<size_t>(16) * width;
  }
}

__device__ __forceinline__ float row_scale(const float* scales, const TilePosition& at, int j, int h) {
  const int r = at.row + j * 8 + threadIdx.x % 4 * 2 + h;
  return r < at.row_end ? scales[r] : 1.0f;
}

template <class Tile, WeightLayout kLayout, class T>
struct RowsStorePlain {
  static constexpr bool kInterleaved = false;
  const Product<T>& p;
  __device__ __forceinline__ void operator()(RowsSums<Tile>& sums, const TilePosition& at, int first) const {
    const int width = p.columns.width;
    const T* const own = p.bias + static_cast<size_t>(at.expert) * width;
#pragma unroll
    for (int i = 0; i < Tile::kStrips; ++i) {
      const int column = first + i * Tile::kConsumers * 64, n = column + threadIdx.x % 32 / 4;
      const float low = p.bias && n < width ? widen(own[n]) : 0.0f, high = p.bias && n + 8 < width ? widen(own[n + 8]) : 0.0f;
      store_sixteen<Tile::kBM / 8>(p.out, at, column, width, [&](int j, float(&x)[4]) {
        float(&s)[4] = sums[i][j];
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          x[c] = p.row_scales ? __fmul_rn(s[c], row_scale(p.row_scales, at, j, c % 2)) : s[c];
          x[c] += c < 2 ? low : high;
        }
      });
    }
  }
};

// Strips of gates and strips of ups.
template <class Tile, WeightLayout kLayout, class T>
struct RowsStoreTwin {
  static constexpr bool kInterleaved = false;
  const Product<T>& p;
  __device__ __forceinline__ void operator()(RowsSums<Tile>& sums, const TilePosition& at, int first) const {
    const int half = p.columns.width / 2, n = first + threadIdx.x % 32 / 4;
    float gate_bias[2] = {}, up_bias[2] = {};
    const T* const own = p.bias + static_cast<size_t>(at.expert) * p.columns.width;
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      if (p.bias && n + h * 8 < half) {
        gate_bias[h] = widen(own[p.columns.half ? n + h * 8 : 2 * (n + h * 8)]);
        up_bias[h] = widen(own[p.columns.half ? half + n + h * 8 : 2 * (n + h * 8) + 1]);
      }
    }
    store_sixteen<Tile::kBM / 8>(p.out, at, first, half, [&](int j, float(&x)[4]) {
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        float gate = sums[0][j][c], up = sums[Tile::kStrips - 1][j][c];
        if (p.row_scales) {
          const float scale = row_scale(p.row_scales, at, j, c % 2);
          gate = __fmul_rn(gate, scale);
          up = __fmul_rn(up, scale);
        }
        x[c] = gated_swish(gate + gate_bias[c / 2], up + up_bias[c / 2], p.activation);
      }
    });
  }
};

// Gates and ups in the same strip.
template <class Tile, WeightLayout kLayout, class T>
struct RowsStoreGated {
  static constexpr bool kInterleaved = true;
  const Product<T>& p;
  __device__ __forceinline__ void operator()(RowsSums<Tile>& sums, const TilePosition& at, int warp) const {
    constexpr bool kTogether = kLayout == WeightLayout::kOutIn;  // a thread has a gate and its up value
    const int lane = threadIdx.x % 32, half = p.columns.width / 2;
    const bool odd = lane & 4;
    const int rows = at.row_end - at.row, row = lane % 4 * 8 + lane / 4;
#pragma unroll
    for (int i = 0; i < Tile::kStrips; ++i) {
    const int first = warp / 2 + i * Tile::kConsumers * 32;
    const int n = first + (kTogether ? lane / 4 : lane / 8 + (odd ? 4 : 0));
    float gate_bias = 0.0f, up_bias = 0.0f;
    if (p.bias && n < half) {
      const T* const own = p.bias + static_cast<size_t>(at.expert) * p.columns.width;
      gate_bias = widen(own[p.columns.half ? n : 2 * n]);
      up_bias = widen(own[p.columns.half ? half + n : 2 * n + 1]);
    }
    T* to = p.out + static_cast<size_t>(at.row + row) * half + first;
#pragma unroll
    for (int j = 0; j < Tile::kBM / 8; j += 4) {
      if (j * 8 >= rows) break;
      keep_order();
      uint32_t v[4];
#pragma unroll
      for (int t = 0; t < 4; ++t) {
        float(&s)[4] = sums[i][j + t];
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
            const float scale = row_scale(p.row_scales, at, j + t, h);
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
  }
};

}  // namespace yamoe
