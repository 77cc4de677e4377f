// The activation between the two products. It is chosen at run time: all threads of a block take the same branch.
#pragma once
#include <ptx.cuh>

#include "codes.cuh"

namespace yamoe {

// f(gate) (up + shift), or f(x) without a gate. The gate is clamped to at most `limit`, and the up value to
// -limit ... limit. The limit may be infinite.
//   kSwish     f(x) = x sigmoid(alpha x): silu, and gpt-oss's with shift 1
//   kGelu      f(x) = x Phi(x)
//   kGeluTanh  f(x) = x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), the tanh form, written without tanh
//   kRelu      f(x) = max(x, 0)
//   kRelu2     f(x) = max(x, 0)^2
struct Activation {
  int kind;
  float alpha, limit, shift;
};

constexpr float kTanh0 = 1.5957691216f;   // 2 sqrt(2 / pi)
constexpr float kTanh1 = 0.07135481283f;  // that times 0.044715

// NaN stays NaN, as in PyTorch's clamp.
__device__ __forceinline__ float clamp_gate(float gate, float limit) { return min_or_nan(gate, limit); }
__device__ __forceinline__ float clamp_up(float up, float limit) { return max_or_nan(min_or_nan(up, limit), -limit); }

// kSwish with a gate, accurate enough for 16-bit results.
__device__ __forceinline__ float gated_swish(float gate, float up, const Activation& a) {
  gate = clamp_gate(gate, a.limit);
  up = clamp_up(up, a.limit);
  return gate * fast_reciprocal(1.0f + fast_exp2(gate * (a.alpha * -1.44269504f))) * (up + a.shift);
}

// x sigmoid(x P(min(x^2, 25))), accurate enough for 16-bit results. P approximates log(Phi(x) / Phi(-x)) / x. The
// relative error of x Phi(x) is below 2e-5 for |x| < 5. For x < -5 the magnitude of the result is below 2e-6.
__device__ __forceinline__ float fast_gelu(float x) {
  const float t = fminf(x * x, 25.0f);
  float p = fmaf(-5.3608472e-11f, t, 6.2440875e-9f);
  p = fmaf(p, t, -3.0542509e-7f);
  p = fmaf(p, t, 7.9696892e-6f);
  p = fmaf(p, t, -1.0686679e-4f);
  p = fmaf(p, t, -9.4706707e-5f);
  p = fmaf(p, t, 0.07274134f);
  p = fmaf(p, t, 1.5957196f);
  return __fdividef(x, 1.0f + __expf(-x * p));
}

// max(x, 0), or its square. NaN stays NaN, as in PyTorch's relu.
__device__ __forceinline__ float relu(float x, bool squared) {
  const float positive = max_or_nan(x, 0.0f);
  return positive * (squared ? positive : 1.0f);
}

// Calls `use` with the function f of the activation, accurate enough for 16-bit results.
template <class Use>
__device__ __forceinline__ void with_fast_activation(const Activation& a, const Use& use) {
  if (a.kind == kGelu) {
    use([](float x) { return fast_gelu(x); });
  } else if (a.kind == kRelu || a.kind == kRelu2) {
    const bool squared = a.kind == kRelu2;
    use([=](float x) { return relu(x, squared); });
  } else {
    const float c0 = a.kind == kGeluTanh ? kTanh0 : a.alpha;
    const float c1 = a.kind == kGeluTanh ? kTanh1 : 0.0f;
    use([=](float x) { return __fdividef(x, 1.0f + __expf(-x * fmaf(c1, x * x, c0))); });
  }
}

// The function f of the activation, with the accuracy of f32.
__device__ __forceinline__ float exact_activation(float x, const Activation& a) {
  switch (a.kind) {
    case kSwish: return x / (1.0f + expf(-a.alpha * x));
    case kGelu: return 0.5f * x * erfcf(-0.70710678f * x);
    case kGeluTanh: return x / (1.0f + expf(-x * fmaf(kTanh1, x * x, kTanh0)));
    case kRelu:
    case kRelu2: return relu(x, a.kind == kRelu2);
    default: return x;
  }
}

}  // namespace yamoe
