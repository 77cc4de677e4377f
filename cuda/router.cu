// The router: one warp computes the scores, the choice and the weights of a token. The arguments describe every kind of
// router; src/routing/router.ts has the table.
//
// Scores and weights are computed in double precision and rounded to f32 once, as on the CPU, so that both backends
// choose the same experts even if scores differ only in the last place. Compared with the layer's products, this costs
// nothing.
#include <ptx.cuh>

#include "dtype.cuh"

namespace yamoe {

constexpr int kRouteThreads = 128;
constexpr int kRouteWarps = kRouteThreads / 32;
constexpr unsigned kLanes = 0xffffffffu;

struct RouteArguments {
  const void* logits;    // [tokens][experts]
  const float* bias;     // [experts], or null: added to the scores for the choice only
  int* indices;          // [tokens][top_k]
  void* weights;         // [tokens][top_k]
  float* input_weights;  // [tokens][top_k] with on_input, else null
  int tokens, experts, top_k;
  int before, after;  // Scoring of all logits before the choice, and of the chosen logits after it
  int groups, top_groups, group_scores;
  int renormalize, on_input;  // 0 or 1
  int weights_dtype;          // DType
  float epsilon, scale;
  float jitter;  // of kSparseMixer
};

// Maps numbers to unsigned integers in the same order. NaN is the largest, both zeros are equal, and 0 is below every
// number.
__device__ __forceinline__ unsigned order_key(float x) {
  if (x != x) return 0xffffffffu;
  x += 0.0f;  // -0 becomes +0
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The inverse of order_key().
__device__ __forceinline__ float key_number(unsigned key) {
  const unsigned bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// A score is computed in two steps, between which the powers are summed: the power of e, then the score.
__device__ __forceinline__ double power(int scoring, double x, double max) {
  return exp(scoring == kSoftmax ? x - max : scoring == kSigmoid ? -x : -fabs(x));
}
__device__ __forceinline__ double score(int scoring, double x, double power, double sum) {
  if (scoring == kSqrtSoftplus) return sqrt(fmax(x, 0.0) + log1p(power));
  return scoring == kSoftmax ? power / sum : 1.0 / (1.0 + power);
}

__device__ __forceinline__ double warp_max(double value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) value = fmax(value, __shfl_xor_sync(kLanes, value, distance));
  return value;
}

__device__ __forceinline__ double warp_sum(double value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance >>= 1) value += __shfl_xor_sync(kLanes, value, distance);
  return value;
}

// The sum of the values of the first lanes, in the order of the lanes.
__device__ __forceinline__ double ordered_sum(double value, int lanes) {
  double sum = 0.0;
#pragma unroll 8
  for (int l = 0; l < lanes; ++l) sum += __shfl_sync(kLanes, value, l);
  return sum;
}

// Clears the keys of all groups except for the best: those whose largest keys, `group_scores` (1 or 2) of them, have the
// largest sums. Among equal sums the lower group wins. `sums` has space for a key of each group. Lanes begin at different experts, to avoid bank
// conflicts.
__device__ __forceinline__ void keep_best_groups(unsigned* keys, unsigned* sums, const RouteArguments& p, int lane) {
  const int size = p.experts / p.groups;
  for (int g = lane; g < p.groups; g += 32) {
    unsigned first = 0, second = 0;
#pragma unroll 1
    for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) {
      const unsigned key = keys[g * size + at];
      second = max(second, min(first, key));
      first = max(first, key);
    }
    sums[g] = p.group_scores == 1 ? first : order_key(key_number(first) + key_number(second));
  }
  __syncwarp();
  for (int g = lane; g < p.groups; g += 32) {
    int better = 0;
#pragma unroll 1
    for (int h = 0; h < p.groups; ++h) better += sums[h] > sums[g] || (sums[h] == sums[g] && h < g);
    if (better < p.top_groups) continue;
#pragma unroll 1
    for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 0;
  }
  __syncwarp();
}

// The expert with the largest key among a lane's experts, which are lane, lane + 32 and so on; the first among equals.
__device__ __forceinline__ int largest_of_lane(const unsigned* keys, int experts, int lane) {
  int best = lane;
#pragma unroll 2
  for (int e = lane + 32; e < experts; e += 32) {
    if (keys[e] > keys[best]) best = e;
  }
  return best;
}

// The reciprocal of SparseMixer's weight of an expert: the sum of exp(x - best logit) over the logits x that are near
// the best one and whose experts, including the best, are not chosen yet.
__device__ __forceinline__ double mixer_sum(const double* logits, const unsigned* keys, int best,
                                            const RouteArguments& p, int lane) {
  const double maximum = logits[best];
  double sum = 0.0;
#pragma unroll 1
  for (int e = lane; e < p.experts; e += 32) {
    const double x = logits[e];
    const bool far = (maximum - x) / fmax(fabs(x), maximum) > 2.0 * p.jitter;  // false for NaN
    if (keys[e] != 0 && !far) sum += exp(x - maximum);
  }
  return warp_sum(sum);
}

// Dynamic shared memory: for each warp the scores of all experts, then for each warp the keys of all experts and
// groups.
template <class T>
__device__ __forceinline__ void route(const RouteArguments& p, const T* __restrict__ logits, int* __restrict__ indices,
                                      void* __restrict__ weights, float* __restrict__ input_weights) {
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  double* const all_scores = reinterpret_cast<double*>(dynamic_smem());
  double* const scores = all_scores + warp * p.experts;
  unsigned* const keys =
      reinterpret_cast<unsigned*>(all_scores + kRouteWarps * p.experts) + warp * (p.experts + p.groups);
  const bool on_scores = p.bias || p.groups > 1;  // else the choice uses the logits: every scoring keeps their order

  for (int t = blockIdx.x * kRouteWarps + warp; t < p.tokens; t += gridDim.x * kRouteWarps) {
    const T* const row = logits + static_cast<size_t>(t) * p.experts;
    // Until the choice is made, each lane accesses only the scores of its own experts.
    double maximum = -INFINITY, sum = 0.0;
#pragma unroll 4
    for (int e = lane; e < p.experts; e += 32) {
      scores[e] = static_cast<float>(row[e]);
      maximum = fmax(maximum, scores[e]);
    }
    maximum = warp_max(maximum);
    if (p.before != kNone) {
#pragma unroll 1
      for (int e = lane; e < p.experts; e += 32) {
        scores[e] = power(p.before, scores[e], maximum);
        sum += scores[e];
      }
      sum = warp_sum(sum);
    }
#pragma unroll 1
    for (int e = lane; e < p.experts; e += 32) {
      float key = static_cast<float>(row[e]);
      if (p.before != kNone) scores[e] = score(p.before, key, scores[e], sum);
      if (on_scores) key = static_cast<float>(scores[e]);
      if (p.bias) key += p.bias[e];
      keys[e] = order_key(key);
    }
    __syncwarp();
    if (p.groups > 1) keep_best_groups(keys, keys + p.experts, p, lane);

    int chosen = 0;  // lane k has the token's k-th expert
    double mixed = 1.0;
    int mine = largest_of_lane(keys, p.experts, lane);
#pragma unroll 1
    for (int k = 0; k < p.top_k; ++k) {
      const unsigned key = lane < p.experts ? keys[mine] : 0;
      const int best = warp_min(key == warp_max(key) ? mine : p.experts);
      if (p.after == kSparseMixer) {
        const double sum = mixer_sum(scores, keys, best, p, lane);
        if (lane == k) mixed = sum;
      }
      if (lane == k) chosen = best;
      if (lane == (best & 31)) {
        keys[best] = 0;
        mine = largest_of_lane(keys, p.experts, lane);
      }
    }

    const bool live = lane < p.top_k;
    double value = scores[chosen];
    if (p.after == kSparseMixer) {
      value = 1.0 / mixed;
    } else if (p.after != kNone) {
      const double part = power(p.after, value, warp_max(live ? value : -INFINITY));
      value = score(p.after, value, part, ordered_sum(part, p.top_k));
    }
    const double divisor = p.renormalize ? ordered_sum(value, p.top_k) + p.epsilon : 1.0;
    const float weight = static_cast<float>(value / divisor * p.scale);
    if (live) {
      const size_t slot = static_cast<size_t>(t) * p.top_k + lane;
      indices[slot] = chosen;
      store_as(weights, slot, p.on_input ? 1.0f : weight, p.weights_dtype);
      if (p.on_input) input_weights[slot] = weight;
    }
    __syncwarp();  // all lanes have read the scores and keys before the next token overwrites them
  }
}

}  // namespace yamoe

#define YAMOE_ROUTE(suffix, T)                                                                             \
  extern "C" __global__ void __launch_bounds__(yamoe::kRouteThreads)                                       \
      route_##suffix(const yamoe::RouteArguments arguments) {                                              \
    yamoe::follow_previous_kernel();                                                                       \
    yamoe::route(arguments, static_cast<const T*>(arguments.logits), arguments.indices, arguments.weights, \
                 arguments.input_weights);                                                                 \
  }

YAMOE_ROUTE(f32, float)
YAMOE_ROUTE(f16, __half)
YAMOE_ROUTE(bf16, __nv_bfloat16)
