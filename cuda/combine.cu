// Computes each token's output row: the weighted sum of its experts' rows, in f32, in slot order, then of an addend's
// row, with one rounding. Every row is written once; a token without a kept assignment gets zeros. The kernel is bound
// by memory: each lane loads 16 bytes of several rows at once. The warps of a token divide its columns. The order of a
// sum does not depend on that. A grid with fewer warps than tokens, looping over them, was 15 % slower.
#include <ptx.cuh>

#include "dtype.cuh"
#include "elements.cuh"

namespace yamoe {

constexpr int kCombineThreads = 128;
constexpr unsigned kWarp = 0xffffffffu;

template <class T, class Out = T>
struct CombineArguments {
  const T* expert_outputs;  // [rows][width]
  const int* rows;  // [tokens][top_k]: a row of expert_outputs, or -1; null: the slot's number, unless it is dropped
  const void* weights;          // [tokens][weight_columns]
  const int* indices;           // [tokens][top_k]: the expert of each slot; null if it is not needed
  const T* addend;              // [tokens][width], or null
  const float* addend_weights;  // [tokens], or null for 1
  Out* out;                     // [tokens][width]
  int weights_dtype, tokens, top_k, weight_columns, width;
  int dense_weights;  // whether a slot's weight is in the column of its expert; else it is in column k for slot k
  int experts;        // used without rows
  int capacity;       // used by combine_few without rows: only the first `capacity` slots of an expert have a row
  int warps;          // per token
  int slots_ready;    // whether rows, weights and indices are older than the previous kernel's results
};

// The number of slots with the same expert before each lane's slot. The warp has the slots from `first` on, and the lanes
// from `slots` on have none.
__device__ __forceinline__ int rank_of_slot(const int* indices, int first, int slots, int expert) {
  const int lane = threadIdx.x & 31;
  int rank = 0;
  for (int k = 0; k < slots; ++k) rank += __shfl_sync(kWarp, expert, k) == expert && k < lane;
  constexpr int kBatch = 4;  // loads at once
  for (int base = lane; base - lane < first; base += kBatch * 32) {
    int others[kBatch];
#pragma unroll
    for (int j = 0; j < kBatch; ++j) others[j] = base + j * 32 < first ? indices[base + j * 32] : -1;
    for (int k = 0; k < slots; ++k) {
      const int own = __shfl_sync(kWarp, expert, k);
      int same = 0;
#pragma unroll
      for (int j = 0; j < kBatch; ++j) same += __popc(__ballot_sync(kWarp, others[j] == own));
      if (k == lane) rank += same;
    }
  }
  return rank;
}

// A warp computes kParts parts of 32 * kCount columns in a step. It loads kSlots slots before it adds the first of them.
// kBranch: a branch skips dropped slots. Without it their loads are only predicated, so that a single step takes less time.
template <int kCount, int kSlots, int kParts, bool kBranch, class T, class Out>
__device__ __forceinline__ void combine(const CombineArguments<T, Out>& p) {
  constexpr int kPart = 32 * kCount;
  const int lane = threadIdx.x & 31;
  const unsigned warp = blockIdx.x * (kCombineThreads / 32) + threadIdx.x / 32;
  const int t = static_cast<int>(warp / static_cast<unsigned>(p.warps));
  const int warp_of_row = static_cast<int>(warp % static_cast<unsigned>(p.warps));
  if (p.slots_ready) {
    see_older_kernels();
  } else {
    wait_for_previous_kernel();
  }
  const bool exists = t < p.tokens;
  const size_t slot = static_cast<size_t>(t) * p.top_k;
  // Each lane has the row and the weight of a slot. `kept` has a bit for each slot with a row.
  int own_row;
  float own_weight;
  unsigned kept;
  const auto load_slots = [&](int base) {
    const int k = base + lane;
    own_row = -1;
    own_weight = 0.0f;
    int expert = 0;
    if (exists && k < p.top_k) {
      if (p.indices) expert = p.indices[slot + k];
      if (p.rows) {
        own_row = p.rows[slot + k];
      } else if (static_cast<unsigned>(expert) < static_cast<unsigned>(p.experts)) {
        own_row = static_cast<int>(slot) + k;
      }
    }
    if constexpr (!kBranch) {
      const int first = static_cast<int>(slot) + base, slots = min(32, p.top_k - base);
      if (!p.rows && exists && p.capacity < first + slots &&
          rank_of_slot(p.indices, first, slots, expert) >= p.capacity) {
        own_row = -1;
      }
    }
    if (own_row >= 0) {
      const int column = p.dense_weights ? expert : k;
      own_weight = load_as(p.weights, static_cast<size_t>(t) * p.weight_columns + column, p.weights_dtype);
    }
    kept = __ballot_sync(kWarp, own_row >= 0);
  };
  load_slots(0);
  follow_previous_kernel();
  if (!exists) return;
  for (int first = warp_of_row * kParts * kPart; first < p.width; first += p.warps * kParts * kPart) {
    const int begin = first + lane * kCount;
    float sums[kParts][kCount] = {};
    const auto add = [&](int part, const Elements<T, kCount>& elements, float weight) {
      float v[kCount];
      widen_elements<T>(elements, v);
#pragma unroll
      for (int i = 0; i < kCount; ++i) sums[part][i] = fmaf(weight, v[i], sums[part][i]);
    };
    for (int base = 0; base < p.top_k; base += 32) {
      if (p.top_k > 32) load_slots(base);
      int i = 0;
      for (unsigned rest = kept; rest; rest >>= kSlots, i += kSlots) {
        Elements<T, kCount> elements[kSlots][kParts];
#pragma unroll
        for (int j = 0; j < kSlots; ++j) {
          const int row = __shfl_sync(kWarp, own_row, i + j);
          const bool is_kept = rest >> j & 1;
          if (kBranch && !is_kept) continue;
          const T* const from = p.expert_outputs + static_cast<size_t>(row) * p.width;
#pragma unroll
          for (int part = 0; part < kParts; ++part) {
            const int c = begin + part * kPart;
            if (is_kept && c < p.width) elements[j][part] = load_elements<kCount>(from + c);
          }
        }
#pragma unroll
        for (int j = 0; j < kSlots; ++j) {
          const float weight = __shfl_sync(kWarp, own_weight, i + j);
#pragma unroll
          for (int part = 0; part < kParts; ++part) {
            if (rest >> j & 1 && begin + part * kPart < p.width) add(part, elements[j][part], weight);
          }
        }
      }
    }
#pragma unroll
    for (int part = 0; part < kParts; ++part) {
      const int c = begin + part * kPart;
      if (c >= p.width) continue;
      const size_t at = static_cast<size_t>(t) * p.width + c;
      if (p.addend) add(part, load_elements<kCount>(p.addend + at), p.addend_weights ? p.addend_weights[t] : 1.0f);
      store_elements(p.out + at, sums[part]);
    }
  }
}

}  // namespace yamoe

// combine_few is for few tokens, where a warp has one step and latency counts, and for rows that are not aligned to 16
// bytes, which it loads one element at a time.
#define YAMOE_COMBINE(dtype, T)                                           \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 8) \
      combine_##dtype(const yamoe::CombineArguments<T> arguments) {       \
    yamoe::combine<yamoe::kElements<T>, 2, 2, true>(arguments);           \
  }                                                                       \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 4) \
      combine_few_##dtype(const yamoe::CombineArguments<T> arguments) {   \
    if (arguments.width % yamoe::kElements<T> == 0) {                     \
      yamoe::combine<yamoe::kElements<T>, 8, 1, false>(arguments);        \
    } else {                                                              \
      yamoe::combine<1, 8, 1, false>(arguments);                          \
    }                                                                     \
  }

// combine_sums does not round: its sums are those of one of several GPUs.
#define YAMOE_COMBINE_SUMS(dtype, T)                                            \
  extern "C" __global__ void __launch_bounds__(yamoe::kCombineThreads, 8)       \
      combine_sums_##dtype(const yamoe::CombineArguments<T, float> arguments) { \
    if (arguments.width % yamoe::kElements<T> == 0) {                           \
      yamoe::combine<yamoe::kElements<T>, 2, 2, true>(arguments);               \
    } else {                                                                    \
      yamoe::combine<1, 2, 2, true>(arguments);                                 \
    }                                                                           \
  }

YAMOE_COMBINE(f16, __half)
YAMOE_COMBINE(bf16, __nv_bfloat16)
YAMOE_COMBINE(f32, float)
YAMOE_COMBINE_SUMS(f16, __half)
YAMOE_COMBINE_SUMS(bf16, __nv_bfloat16)
