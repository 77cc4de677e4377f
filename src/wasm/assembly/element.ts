// Element types: reads four or eight elements as f32, and rounds f32 to elements. The type parameter is u16 for f16, i16 for
// bf16, and f32 for f32. Exported kernels take the code of the type.
import { narrowHalf, widenHalf } from "./half";
import {
  BRAIN_FIELDS,
  EXPONENT,
  HALF_FIELDS,
  HALF_MAGNITUDE,
  HALF_MAGNITUDE_8,
  HALF_NORMAL_8,
  HALF_SPECIAL_8,
  INT_1,
  MAGNITUDE,
  QUIET,
  REBIAS,
} from "./constants";

// The base-2 logarithm of an element's size in bytes.
// @ts-ignore: decorator
@inline
export function shiftOf<T>(): usize {
  return isFloat<T>() ? 2 : 1;
}

// Loads four elements.
// @ts-ignore: decorator
@inline
export function load4<T>(from: usize): v128 {
  if (isFloat<T>()) return v128.load(from);
  if (isSigned<T>()) return i32x4.shl(v128.load16x4_u(from), 16);
  return widenHalf(v128.load16x4_u(from));
}

// Rounds four f32 and stores them.
// @ts-ignore: decorator
@inline
export function store4<T>(to: usize, value: v128): void {
  if (isFloat<T>()) {
    v128.store(to, value);
  } else {
    const bits = isSigned<T>() ? narrowBrain(value) : narrowHalf(value);
    v128.store64_lane(to, i16x8.narrow_i32x4_u(bits, bits), 0);
  }
}

// Rounds eight f32 and stores them.
// @ts-ignore: decorator
@inline
export function store8<T>(to: usize, low: v128, high: v128): void {
  if (isFloat<T>()) {
    v128.store(to, low);
    v128.store(to, high, 16);
  } else if (isSigned<T>()) {
    v128.store(to, i16x8.narrow_i32x4_u(narrowBrain(low), narrowBrain(high)));
  } else {
    v128.store(to, i16x8.narrow_i32x4_u(narrowHalf(low), narrowHalf(high)));
  }
}

// Returns words whose upper halves are the nearest bf16, ties to even. The values are not NaN.
// @ts-ignore: decorator
@inline
function roundUpBrain(value: v128): v128 {
  const odd = v128.and(i32x4.shr_u(value, 16), v128.load(INT_1));
  return i32x4.add(i32x4.add(value, v128.load(HALF_MAGNITUDE)), odd);
}

// Rounds four f32 to the nearest bf16, ties to even. Returns the bit patterns in i32 lanes. A NaN keeps its upper bits and
// becomes quiet: without the quiet bit, it would become infinity if only lower bits were set.
// @ts-ignore: decorator
@inline
export function narrowBrain(value: v128): v128 {
  const rounded = roundUpBrain(value);
  const nan = i32x4.gt_s(v128.and(value, v128.load(MAGNITUDE)), v128.load(EXPONENT));
  return i32x4.shr_u(v128.bitselect(v128.or(value, v128.load(QUIET)), rounded, nan), 16);
}

// Rounds four f32 to the nearest bf16 and returns them as f32. The values are not NaN.
// @ts-ignore: decorator
@inline
export function roundBrain(value: v128): v128 {
  return v128.and(roundUpBrain(value), v128.load(BRAIN_FIELDS));
}

// Sets the words of zeros, subnormals, infinities and NaN: these have the lowest and the highest exponent of f16.
// @ts-ignore: decorator
@inline
function specials(halves: v128): v128 {
  const exponent = i16x8.sub(v128.and(halves, v128.load(HALF_MAGNITUDE_8)), v128.load(HALF_NORMAL_8));
  return i16x8.ge_u(exponent, v128.load(HALF_SPECIAL_8));
}

// Whether any of eight f16 is zero, subnormal, infinite or NaN.
// @ts-ignore: decorator
@inline
export function anySpecial(halves: v128): bool {
  return v128.any_true(specials(halves));
}

// Whether any of 16 f16 is zero, subnormal, infinite or NaN.
// @ts-ignore: decorator
@inline
export function anySpecial2(a: v128, b: v128): bool {
  return v128.any_true(v128.or(specials(a), specials(b)));
}

// Whether any of 32 f16 is zero, subnormal, infinite or NaN.
// @ts-ignore: decorator
@inline
export function anySpecial4(a: v128, b: v128, c: v128, d: v128): bool {
  return v128.any_true(v128.or(v128.or(specials(a), specials(b)), v128.or(specials(c), specials(d))));
}

// Widens four f16 whose exponents are neither the lowest nor the highest. `bits` are their patterns times 2^13, sign-extended.
// @ts-ignore: decorator
@inline
function widenNormal(bits: v128): v128 {
  return i32x4.add(v128.and(bits, v128.load(HALF_FIELDS)), v128.load(REBIAS));
}

// Widens the lower four of eight f16 or bf16 in a register; with `pairs`, the even ones. `special` is the result of
// `anySpecial`.
// @ts-ignore: decorator
@inline
export function lowFour<T>(bits: v128, pairs: bool, special: bool): v128 {
  if (isSigned<T>()) {
    return pairs ? i32x4.shl(bits, 16) : v128.shuffle<i16>(i32x4.splat(0), bits, 0, 8, 1, 9, 2, 10, 3, 11);
  }
  if (special) return widenHalf(pairs ? i32x4.shr_u(i32x4.shl(bits, 16), 16) : i32x4.extend_low_i16x8_u(bits));
  if (pairs) return widenNormal(i32x4.shr_s(i32x4.shl(bits, 16), 3));
  return widenNormal(i32x4.shl(i32x4.extend_low_i16x8_s(bits), 13));
}

// Widens the upper four; with `pairs`, the odd ones.
// @ts-ignore: decorator
@inline
export function highFour<T>(bits: v128, pairs: bool, special: bool): v128 {
  if (isSigned<T>()) {
    if (pairs) return v128.and(bits, v128.load(BRAIN_FIELDS));
    return v128.shuffle<i16>(i32x4.splat(0), bits, 4, 12, 5, 13, 6, 14, 7, 15);
  }
  if (special) return widenHalf(pairs ? i32x4.shr_u(bits, 16) : i32x4.extend_high_i16x8_u(bits));
  if (pairs) return widenNormal(i32x4.shr_s(bits, 3));
  return widenNormal(i32x4.shl(i32x4.extend_high_i16x8_s(bits), 13));
}

// Loads eight f16 or bf16 into a register: four at `from` and four at `fromHigh`. With `pairs`, loads eight at `from`.
// @ts-ignore: decorator
@inline
function gather8(pairs: bool, from: usize, fromHigh: usize): v128 {
  return pairs ? v128.load(from) : v128.load64_lane(fromHigh, v128.load64_zero(from), 1);
}

// Widens eight f16 or bf16 in a register and stores the lower and the upper four. One in hundreds of f16 weights is zero or
// subnormal, so the branch is cheaper than the ten instructions that it saves.
// @ts-ignore: decorator
@inline
function widen8<T>(bits: v128, pairs: bool, low: usize, high: usize): void {
  // Two branches, so that `special` is a constant in each.
  if (!isSigned<T>() && anySpecial(bits)) {
    v128.store(low, lowFour<T>(bits, pairs, true));
    v128.store(high, highFour<T>(bits, pairs, true));
  } else {
    v128.store(low, lowFour<T>(bits, pairs, false));
    v128.store(high, highFour<T>(bits, pairs, false));
  }
}

// Widens four elements at `from` to `low`, and four elements at `fromHigh` to `high`.
// @ts-ignore: decorator
@inline
export function widenHalves<T>(from: usize, fromHigh: usize, low: usize, high: usize): void {
  if (isFloat<T>()) {
    v128.store(low, v128.load(from));
    v128.store(high, v128.load(fromHigh));
  } else {
    widen8<T>(gather8(false, from, fromHigh), false, low, high);
  }
}

// Widens eight elements at `from`: the even ones to `low`, the odd ones to `high`.
// @ts-ignore: decorator
@inline
export function widenPairs<T>(from: usize, low: usize, high: usize): void {
  if (isFloat<T>()) {
    const first = v128.load(from), second = v128.load(from, 16);
    v128.store(low, v128.shuffle<f32>(first, second, 0, 2, 4, 6));
    v128.store(high, v128.shuffle<f32>(first, second, 1, 3, 5, 7));
  } else {
    widen8<T>(gather8(true, from, from), true, low, high);
  }
}

// Loads the lower four elements of a group of eight: f32, or bf16 whose lower and upper fours alternate.
// @ts-ignore: decorator
@inline
export function lower<T>(b: usize): v128 {
  return isFloat<T>() ? v128.load(b) : i32x4.shl(v128.load(b), 16);
}

// Loads the upper four.
// @ts-ignore: decorator
@inline
export function upper<T>(b: usize): v128 {
  return isFloat<T>() ? v128.load(b, 16) : i32x4.shl(i32x4.shr_u(v128.load(b), 16), 16);
}

// Loads the upper four, for tiles that have no register left for the group while the lower four are used: a second load, two bytes
// later, needs none.
// @ts-ignore: decorator
@inline
export function upperAgain<T>(b: usize): v128 {
  return isFloat<T>() ? upper<T>(b) : i32x4.shl(v128.load(b, 2), 16);
}
