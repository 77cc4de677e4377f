// Half precision in 4-lane SIMD. WebAssembly has no f16 instructions, so the conversions use integer and f32 arithmetic. They
// never multiply a subnormal, because an x86 core needs about 150 cycles for that.

import {
  TWO_TO_MINUS_14,
  EXPONENT,
  EXPONENT_13,
  EXPONENT_126,
  EXPONENT_13_HALF,
  EXPONENT_126_HALF,
  INT_1,
  MAGNITUDE,
  SIGN,
  HALF_MAGNITUDE,
  HALF_SIGN,
  REBIAS,
  HALF_NORMAL,
  HALF_SPECIAL,
  HALF_TOP,
  HALF_NAN,
  HALF_ROUND,
  HALF_SIGN_8,
} from "./constants";

// Widens four f16 bit patterns, zero-extended in i32 lanes, to f32. Exact, infinities and NaN included.
// @ts-ignore: decorator
@inline
export function widenHalf(bits: v128): v128 {
  const magnitude = i32x4.shl(v128.and(bits, v128.load(HALF_MAGNITUDE)), 13);
  const sign = i32x4.shl(v128.and(bits, v128.load(HALF_SIGN)), 16);
  // Adds 127 - 15 to the exponent. The value of a subnormal is then 2^-15 (1 + m/1024); the right value is 2^-14 m/1024.
  const normal = i32x4.add(magnitude, v128.load(REBIAS));
  const subnormal = f32x4.sub(f32x4.add(normal, normal), v128.load(TWO_TO_MINUS_14));
  const finite = i32x4.relaxed_laneselect(subnormal, normal, i32x4.lt_s(magnitude, v128.load(HALF_NORMAL)));
  const special = v128.and(i32x4.ge_s(magnitude, v128.load(HALF_SPECIAL)), v128.load(EXPONENT));
  return v128.or(v128.or(finite, special), sign);
}

// Rounds four f32 to the nearest f16, ties to even. Returns the f16 bit patterns in i32 lanes.
// Adding 2^(e+13) to a value with exponent e rounds away exactly the bits that f16 does not have. The difference of the bit
// patterns is then the f16 significand. Below the exponent -14, all values have the spacing of f16's subnormals.
// @ts-ignore: decorator
@inline
export function narrowHalf(value: v128): v128 {
  const magnitude = v128.and(value, v128.load(MAGNITUDE));
  const clamped = i32x4.min_s(magnitude, v128.load(HALF_TOP)); // 65536: the first binade beyond f16, which becomes infinity
  const rounder = i32x4.max_s(
    i32x4.add(v128.and(clamped, v128.load(EXPONENT)), v128.load(EXPONENT_13)),
    v128.load(EXPONENT_126),
  );
  const significand = i32x4.sub(f32x4.add(clamped, rounder), rounder);
  const exponent = i32x4.shr_u(i32x4.sub(rounder, v128.load(EXPONENT_126)), 13);
  const finite = i32x4.add(significand, exponent);
  const nan = v128.and(i32x4.gt_s(magnitude, v128.load(EXPONENT)), v128.load(HALF_NAN));
  return v128.or(v128.or(finite, nan), i32x4.shl(i32x4.shr_u(value, 31), 15));
}

// Rounds four f32 to the nearest f16 and returns them as f32. The values are finite and do not overflow f16.
// Works like narrowHalf, with 1.5 times the rounder: the sum then has the same binade for both signs.
// @ts-ignore: decorator
@inline
export function roundHalf(value: v128): v128 {
  const exponent = v128.and(value, v128.load(EXPONENT));
  const rounder = i32x4.max_s(i32x4.add(exponent, v128.load(EXPONENT_13_HALF)), v128.load(EXPONENT_126_HALF));
  const rounded = f32x4.sub(f32x4.add(value, rounder), rounder);
  return v128.or(rounded, v128.and(value, v128.load(SIGN))); // zero has lost its sign
}

// The same for values that are neither zero nor subnormal in f16.
// @ts-ignore: decorator
@inline
export function roundNormalHalf(value: v128): v128 {
  const rounder = i32x4.add(v128.and(value, v128.load(EXPONENT)), v128.load(EXPONENT_13_HALF));
  return f32x4.sub(f32x4.add(value, rounder), rounder);
}

// Returns the bit patterns of the nearest f16 without their signs, in i32 lanes. The values are finite and do not overflow f16.
// For a value that is subnormal in f16, the result is wrong, but less than the pattern of the smallest normal; it may be
// negative.
// @ts-ignore: decorator
@inline
export function normalHalfMagnitude(value: v128): v128 {
  const magnitude = v128.and(value, v128.load(MAGNITUDE));
  const odd = v128.and(i32x4.shr_u(magnitude, 13), v128.load(INT_1));
  return i32x4.shr_s(i32x4.add(i32x4.add(magnitude, v128.load(HALF_ROUND)), odd), 13);
}

// Returns the signs of eight f32 in the sign bits of f16. Signed saturation keeps the sign of a word.
// @ts-ignore: decorator
@inline
export function halfSigns(low: v128, high: v128): v128 {
  return v128.and(i16x8.narrow_i32x4_s(low, high), v128.load(HALF_SIGN_8));
}
