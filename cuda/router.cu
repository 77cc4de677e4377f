// Routing, fused: scores, choice and weights of a token, one warp each. Every kind of router is a setting of its parameters
// (src/router.ts has the table).
//
// Scores and weights are computed in double precision and rounded to f32 once, as the CPU backend does it, so that both
// backends choose the same experts where scores differ in the last place only; beside the layer's products it costs nothing.
#include <ptx.cuh>

#include "dtype.cuh"

namespace yamoe {

constexpr int kRouteThreads = 128;
constexpr int kRouteWarps = kRouteThreads / 32;
constexpr unsigned kLanes = 0xffffffffu;

enum Scoring { kNone = 0, kSoftmax = 1, kSigmoid = 2, kSqrtSoftplus = 3, kSparseMixer = 4 };

// A router, as the kernels get it.
struct RouterRule {
  const float* bias;  // [experts] or null: added to the scores for the choice alone
  int experts, top_k;
  int before, after;  // Scoring: of all logits before the choice, of the chosen after it
  int groups, top_groups;
  bool renormalize, on_input;
  float epsilon, scale;
  float jitter;  // of kSparseMixer
};

// Unsigned integers in the order of the numbers: NaN above all, both zeros alike. 0 is below every number.
__device__ __forceinline__ unsigned order_key(float x) {
  if (x != x) return 0xffffffffu;
  x += 0.0f;  // -0 becomes +0
  unsigned bits;
  memcpy(&bits, &x, sizeof bits);
  return bits & 0x80000000u ? ~bits : bits | 0x80000000u;
}

// The number of a key.
__device__ __forceinline__ float key_number(unsigned key) {
  const unsigned bits = key & 0x80000000u ? key & 0x7fffffffu : ~key;
  float x;
  memcpy(&x, &bits, sizeof x);
  return x;
}

// A score is made in two steps, so that a sum can come between: the power of e, then the score.
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

// The sum of the first lanes' values, in their order.
__device__ __forceinline__ double ordered_sum(double value, int lanes) {
  double sum = 0.0;
#pragma unroll 1
  for (int l = 0; l < lanes; ++l) sum += __shfl_sync(kLanes, value, l);
  return sum;
}

// Takes away the keys of all groups but the best: those whose two largest keys have the largest sum, a lower group first
// among equals. `sums` is room for a key of each group. Lanes begin at different experts, for the sake of the banks.
__device__ __forceinline__ void keep_best_groups(unsigned* keys, unsigned* sums, const RouterRule& rule, int lane) {
  const int size = rule.experts / rule.groups;
  for (int g = lane; g < rule.groups; g += 32) {
    unsigned first = 0, second = 0;
#pragma unroll 1
    for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) {
      const unsigned key = keys[g * size + at];
      second = max(second, min(first, key));
      first = max(first, key);
    }
    sums[g] = order_key(key_number(first) + key_number(second));
  }
  __syncwarp();
  for (int g = lane; g < rule.groups; g += 32) {
    int better = 0;
#pragma unroll 1
    for (int h = 0; h < rule.groups; ++h) better += sums[h] > sums[g] || (sums[h] == sums[g] && h < g);
    if (better < rule.top_groups) continue;
#pragma unroll 1
    for (int i = 0, at = g % size; i < size; ++i, at = at + 1 < size ? at + 1 : 0) keys[g * size + at] = 0;
  }
  __syncwarp();
}

// The largest of a lane's keys, those of experts lane, lane + 32, ...; the first among equals.
__device__ __forceinline__ int largest_of_lane(const unsigned* keys, int experts, int lane) {
  int best = lane;
#pragma unroll 1
  for (int e = lane + 32; e < experts; e += 32) {
    if (keys[e] > keys[best]) best = e;
  }
  return best;
}

// SparseMixer's weight of an expert is one over this: the sum of exp(x - x of the expert) over those that are not chosen yet,
// it included, and whose logits x lie near its own.
__device__ __forceinline__ double mixer_sum(const double* logits, const unsigned* keys, int best,
                                            const RouterRule& rule, int lane) {
  const double most = logits[best];
  double sum = 0.0;
#pragma unroll 1
  for (int e = lane; e < rule.experts; e += 32) {
    const double x = logits[e];
    const bool far = (most - x) / fmax(fabs(x), most) > 2.0 * rule.jitter;  // NaN is not
    if (keys[e] != 0 && !far) sum += exp(x - most);
  }
  return warp_sum(sum);
}

// Dynamic shared memory: for each warp the score of each expert, then for each warp a key of each expert and of each group.
template <class T>
__device__ __forceinline__ void route(const T* __restrict__ logits, int tokens, const RouterRule& rule,
                                      int* __restrict__ indices, void* __restrict__ weights, int weights_dtype,
                                      float* __restrict__ input_weights) {
  const int lane = threadIdx.x & 31;
  const int warp = threadIdx.x >> 5;
  double* const all_scores = reinterpret_cast<double*>(dynamic_smem());
  double* const scores = all_scores + warp * rule.experts;
  unsigned* const keys =
      reinterpret_cast<unsigned*>(all_scores + kRouteWarps * rule.experts) + warp * (rule.experts + rule.groups);
  const bool on_scores = rule.bias || rule.groups > 1;  // else on the logits, whose order every scoring keeps

  for (int t = blockIdx.x * kRouteWarps + warp; t < tokens; t += gridDim.x * kRouteWarps) {
    const T* const row = logits + static_cast<size_t>(t) * rule.experts;
    // Each lane reads and writes the scores of its own experts only, until the choice is made.
    double most = -INFINITY, sum = 0.0;
#pragma unroll 1
    for (int e = lane; e < rule.experts; e += 32) {
      scores[e] = static_cast<float>(row[e]);
      most = fmax(most, scores[e]);
    }
    most = warp_max(most);
    if (rule.before != kNone) {
#pragma unroll 1
      for (int e = lane; e < rule.experts; e += 32) {
        scores[e] = power(rule.before, scores[e], most);
        sum += scores[e];
      }
      sum = warp_sum(sum);
    }
#pragma unroll 1
    for (int e = lane; e < rule.experts; e += 32) {
      float key = static_cast<float>(row[e]);
      if (rule.before != kNone) scores[e] = score(rule.before, key, scores[e], sum);
      if (on_scores) key = static_cast<float>(scores[e]);
      if (rule.bias) key += rule.bias[e];
      keys[e] = order_key(key);
    }
    __syncwarp();
    if (rule.groups > 1) keep_best_groups(keys, keys + rule.experts, rule, lane);

    int chosen = 0;  // lane k's is the token's k-th
    double mixed = 1.0;
    int mine = largest_of_lane(keys, rule.experts, lane);
#pragma unroll 1
    for (int k = 0; k < rule.top_k; ++k) {
      unsigned key = lane < rule.experts ? keys[mine] : 0;
      int best = mine;
#pragma unroll
      for (int distance = 16; distance > 0; distance >>= 1) {
        const unsigned other = __shfl_xor_sync(kLanes, key, distance);
        const int at = __shfl_xor_sync(kLanes, best, distance);
        if (other > key || (other == key && at < best)) {
          key = other;
          best = at;
        }
      }
      if (rule.after == kSparseMixer) {
        const double sum = mixer_sum(scores, keys, best, rule, lane);
        if (lane == k) mixed = sum;
      }
      if (lane == k) chosen = best;
      if (lane == (best & 31)) {
        keys[best] = 0;
        mine = largest_of_lane(keys, rule.experts, lane);
      }
    }

    const bool live = lane < rule.top_k;
    double value = scores[chosen];
    if (rule.after == kSparseMixer) {
      value = 1.0 / mixed;
    } else if (rule.after != kNone) {
      const double part = power(rule.after, value, warp_max(live ? value : -INFINITY));
      value = score(rule.after, value, part, ordered_sum(part, rule.top_k));
    }
    const double divisor = rule.renormalize ? ordered_sum(value, rule.top_k) + rule.epsilon : 1.0;
    const float weight = static_cast<float>(value / divisor * rule.scale);
    if (live) {
      const size_t slot = static_cast<size_t>(t) * rule.top_k + lane;
      indices[slot] = chosen;
      store_as(weights, slot, rule.on_input ? 1.0f : weight, weights_dtype);
      if (rule.on_input) input_weights[slot] = weight;
    }
    __syncwarp();  // scores and keys are read to the end before the next token's are written
  }
}

}  // namespace yamoe

#define YAMOE_ROUTE(suffix, T)                                                                                     \
  extern "C" __global__ void __launch_bounds__(yamoe::kRouteThreads)                                               \
      route_##suffix(const T* logits, const float* bias, int* indices, void* weights, float* input_weights,        \
                     int tokens, int experts, int top_k, int before, int after, int groups, int top_groups,        \
                     int renormalize, int on_input, int weights_dtype, float epsilon, float scale, float jitter) { \
    const yamoe::RouterRule rule{bias,       experts,          top_k,         before,  after, groups,              \
                                 top_groups, renormalize != 0, on_input != 0, epsilon, scale, jitter};             \
    yamoe::route(logits, tokens, rule, indices, weights, weights_dtype, input_weights);                            \
  }

YAMOE_ROUTE(f32, float)
YAMOE_ROUTE(f16, __half)
YAMOE_ROUTE(bf16, __nv_bfloat16)
