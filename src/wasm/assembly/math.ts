// Elementary functions of four f32 lanes, for the ranges that this project needs.
// Polynomials: S. Moshier, Cephes 2.8 single precision (logf.c, sinf.c, expf.c). PyTorch's vectorised randn uses the same.
// The bits are the same on every machine: the operations are IEEE operations, or relaxed operations with only one permitted
// result (conversions in range, selections by whole lanes).

import {
  LOG_8,
  LOG_7,
  LOG_6,
  LOG_5,
  LOG_4,
  LOG_3,
  LOG_2,
  LOG_1,
  LOG_0,
  SQRT_HALF,
  LN2_LOW,
  LN2_HIGH,
  FOUR_OVER_PI,
  PI_4_A,
  PI_4_B,
  PI_4_C,
  SIN_2,
  SIN_1,
  SIN_0,
  COS_2,
  COS_1,
  COS_0,
  HALF,
  ONE,
  EXP_MAX,
  EXP_MIN,
  LOG2_E,
  MINUS_LN2_HIGH,
  MINUS_LN2_LOW,
  EXP_5,
  EXP_4,
  EXP_3,
  EXP_2,
  EXP_1,
  EXP_0,
  MANTISSA,
  BIAS_1,
  INT_1,
  NOT_1,
  BIAS,
} from "./constants";

// @ts-ignore: decorator
@inline
export function mulAdd(a: v128, b: v128, c: v128): v128 {
  return f32x4.add(f32x4.mul(a, b), c);
}

// The natural logarithm of positive normal values.
// @ts-ignore: decorator
@inline
export function log4(x: v128): v128 {
  // x = m 2^e with m in [sqrt(1/2), sqrt(2))
  let exponent = f32x4.convert_i32x4_s(i32x4.sub(i32x4.shr_u(x, 23), v128.load(BIAS_1)));
  let m = v128.or(v128.and(x, v128.load(MANTISSA)), v128.load(HALF));
  const small = f32x4.lt(m, v128.load(SQRT_HALF));
  exponent = f32x4.sub(exponent, v128.and(small, v128.load(ONE)));
  m = f32x4.sub(f32x4.add(m, v128.and(small, m)), v128.load(ONE));

  const z = f32x4.mul(m, m);
  let y = mulAdd(v128.load(LOG_8), m, v128.load(LOG_7));
  y = mulAdd(y, m, v128.load(LOG_6));
  y = mulAdd(y, m, v128.load(LOG_5));
  y = mulAdd(y, m, v128.load(LOG_4));
  y = mulAdd(y, m, v128.load(LOG_3));
  y = mulAdd(y, m, v128.load(LOG_2));
  y = mulAdd(y, m, v128.load(LOG_1));
  y = mulAdd(y, m, v128.load(LOG_0));
  y = f32x4.mul(f32x4.mul(y, m), z);
  y = mulAdd(exponent, v128.load(LN2_LOW), y);
  y = f32x4.sub(y, f32x4.mul(z, v128.load(HALF)));
  return mulAdd(exponent, v128.load(LN2_HIGH), f32x4.add(m, y));
}

// The octant and the reduced argument of an angle in [0, 8192), and the sine and the cosine of the reduced argument. They are
// separate functions because an AssemblyScript function returns one value.
// @ts-ignore: decorator
@inline
export function octant4(angle: v128): v128 {
  const j = i32x4.relaxed_trunc_f32x4_s(f32x4.mul(angle, v128.load(FOUR_OVER_PI)));
  return v128.and(i32x4.add(j, v128.load(INT_1)), v128.load(NOT_1));
}

// @ts-ignore: decorator
@inline
export function reduceAngle4(angle: v128, octant: v128): v128 {
  const j = f32x4.convert_i32x4_s(octant);
  let x = mulAdd(j, v128.load(PI_4_A), angle);
  x = mulAdd(j, v128.load(PI_4_B), x);
  return mulAdd(j, v128.load(PI_4_C), x);
}

// @ts-ignore: decorator
@inline
export function sinReduced4(x: v128, z: v128): v128 {
  let y = mulAdd(v128.load(SIN_2), z, v128.load(SIN_1));
  y = mulAdd(y, z, v128.load(SIN_0));
  return mulAdd(f32x4.mul(y, z), x, x);
}

// @ts-ignore: decorator
@inline
export function cosReduced4(z: v128): v128 {
  let y = mulAdd(v128.load(COS_2), z, v128.load(COS_1));
  y = mulAdd(y, z, v128.load(COS_0));
  y = f32x4.sub(f32x4.mul(f32x4.mul(y, z), z), f32x4.mul(z, v128.load(HALF)));
  return f32x4.add(y, v128.load(ONE));
}

// The exponential. It saturates to 0 and infinity outside the range of f32.
// @ts-ignore: decorator
@inline
export function exp4(x: v128): v128 {
  // pmin and pmax return a NaN if it is the first operand
  const clamped = f32x4.pmax(f32x4.pmin(x, v128.load(EXP_MAX)), v128.load(EXP_MIN));
  const n = f32x4.nearest(f32x4.mul(clamped, v128.load(LOG2_E)));
  let r = mulAdd(n, v128.load(MINUS_LN2_HIGH), clamped);
  r = mulAdd(n, v128.load(MINUS_LN2_LOW), r);
  let y = mulAdd(v128.load(EXP_5), r, v128.load(EXP_4));
  y = mulAdd(y, r, v128.load(EXP_3));
  y = mulAdd(y, r, v128.load(EXP_2));
  y = mulAdd(y, r, v128.load(EXP_1));
  y = mulAdd(y, r, v128.load(EXP_0));
  y = f32x4.add(mulAdd(y, f32x4.mul(r, r), r), v128.load(ONE));
  // 2^n in two factors, because n can exceed the range of one exponent field
  const k = i32x4.trunc_sat_f32x4_s(n); // 0 for NaN
  const half = i32x4.shr_s(k, 1);
  const first = i32x4.shl(i32x4.add(half, v128.load(BIAS)), 23);
  const second = i32x4.shl(i32x4.add(i32x4.sub(k, half), v128.load(BIAS)), 23);
  return f32x4.mul(f32x4.mul(y, first), second);
}
