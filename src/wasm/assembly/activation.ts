// The activations between the two products; see `Activation` in the contract.
import {
  ERF_0,
  ERF_1,
  ERF_2,
  ERF_3,
  ERF_4,
  ERF_P,
  GELU_CUBE,
  GELU_SCALE,
  HALF,
  MAGNITUDE,
  ONE,
  SQRT_HALF,
  SIGN,
} from "./constants";
import { exp4, mulAdd } from "./math";

// The numbers of `activationRules` in the contract.
const SWIGLU_OAI = 1;
const SILU = 2;
const GELU = 3;
const GELU_TANH = 4;
const RELU2 = 5;
const RELU = 6;

// x sigmoid(-minusY).
// @ts-ignore: decorator
@inline
function gated4(x: v128, minusY: v128): v128 {
  return f32x4.div(x, f32x4.add(v128.load(ONE), exp4(minusY)));
}

// gate sigmoid(alpha gate) (up + 1), or for silu gate sigmoid(gate) up, with gate <= limit and |up| <= limit. min and max
// keep a NaN; pmin and pmax do not.
// @ts-ignore: decorator
@inline
function clampedSwiglu(kind: i32, gate: v128, up: v128, alpha: v128, limit: v128): v128 {
  const g = f32x4.min(gate, limit);
  const u = f32x4.max(f32x4.min(up, limit), f32x4.neg(limit));
  if (kind == SILU) return f32x4.mul(gated4(g, f32x4.neg(g)), u);
  return f32x4.mul(gated4(g, f32x4.neg(f32x4.mul(alpha, g))), f32x4.add(u, v128.load(ONE)));
}

// x (1 + erf(x / sqrt 2)) / 2. Source: Abramowitz and Stegun, 7.1.26. The error is at most 1.5e-7.
// @ts-ignore: decorator
@inline
function gelu4(x: v128): v128 {
  const z = f32x4.mul(v128.and(x, v128.load(MAGNITUDE)), v128.load(SQRT_HALF));
  const t = f32x4.div(v128.load(ONE), mulAdd(v128.load(ERF_P), z, v128.load(ONE)));
  let y = mulAdd(v128.load(ERF_4), t, v128.load(ERF_3));
  y = mulAdd(y, t, v128.load(ERF_2));
  y = mulAdd(y, t, v128.load(ERF_1));
  y = mulAdd(y, t, v128.load(ERF_0));
  y = f32x4.mul(f32x4.mul(y, t), exp4(f32x4.neg(f32x4.mul(z, z))));
  const erf = v128.or(f32x4.sub(v128.load(ONE), y), v128.and(x, v128.load(SIGN)));
  const half = f32x4.mul(x, v128.load(HALF));
  return f32x4.add(half, f32x4.mul(half, erf));
}

// x sigmoid(2 sqrt(2 / pi) (x + 0.044715 x^3)), which is x (1 + tanh(...)) / 2.
// @ts-ignore: decorator
@inline
function geluTanh4(x: v128): v128 {
  const cube = f32x4.mul(f32x4.mul(x, x), x);
  return gated4(x, f32x4.mul(v128.load(GELU_SCALE), mulAdd(v128.load(GELU_CUBE), cube, x)));
}

// @ts-ignore: decorator
@inline
function relu4(x: v128): v128 {
  return f32x4.max(x, f32x4.splat(0));
}

// The activation of values without a gate.
// @ts-ignore: decorator
@inline
export function activate4(kind: i32, x: v128): v128 {
  if (kind == SILU) return gated4(x, f32x4.neg(x));
  if (kind == GELU) return gelu4(x);
  if (kind == GELU_TANH) return geluTanh4(x);
  if (kind == RELU) return relu4(x);
  if (kind == RELU2) return f32x4.mul(relu4(x), relu4(x));
  return x;
}

// The activation of gate and up.
// @ts-ignore: decorator
@inline
export function activatePair4(kind: i32, gate: v128, up: v128, alpha: v128, limit: v128): v128 {
  if (kind == SWIGLU_OAI || kind == SILU) return clampedSwiglu(kind, gate, up, alpha, limit);
  return f32x4.mul(activate4(kind, gate), up);
}
