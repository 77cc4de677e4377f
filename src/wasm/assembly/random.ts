// PyTorch's CPU random numbers. The state of the Mersenne Twister is a sliding window over its untempered words, so that the
// generator is one recurrence without block boundaries: word[n] follows from the words n - 624, n - 623 and n - 227.
// Source: Matsumoto and Nishimura, MT19937 (1998); PyTorch, aten/src/ATen/native/cpu/DistributionTemplates.h, normal_fill.
import {
  ONE,
  MINUS_TWO,
  TWO_PI,
  TWO_TO_MINUS_24,
  INT_2,
  INT_4,
  TEMPER_7,
  TEMPER_15,
  LOW_24,
  MAGNITUDE,
  SIGN,
  TWISTER_MATRIX,
} from "./constants";
import { cosReduced4, log4, octant4, reduceAngle4, sinReduced4 } from "./math";
import { BF16, F16 } from "../codes";
import { roundBrain, shiftOf, store8 } from "./element";
import { halfSigns, normalHalfMagnitude, roundHalf, roundNormalHalf } from "./half";

const WINDOW: usize = 624 * 4;
const LAG: usize = 397 * 4;

// Appends `count` untempered words (a multiple of 4) to the 624 words at `window`.
export function twist(window: usize, count: i32): void {
  const end = window + (<usize> count << 2);
  for (let p = window; p < end; p += 16) {
    const y = v128.or(
      v128.and(v128.load(p), v128.load(SIGN)),
      v128.and(v128.load(p, 4), v128.load(MAGNITUDE)),
    );
    const odd = i32x4.shr_s(i32x4.shl(y, 31), 31);
    const matrix = v128.and(odd, v128.load(TWISTER_MATRIX));
    v128.store(p + WINDOW, v128.xor(v128.xor(v128.load(p + LAG), i32x4.shr_u(y, 1)), matrix));
  }
}

// Tempers four words and converts each to a uniform f32 in [0, 1) with 24 bits.
// @ts-ignore: decorator
@inline
function uniform4(words: usize): v128 {
  let y = v128.load(words);
  y = v128.xor(y, i32x4.shr_u(y, 11));
  y = v128.xor(y, v128.and(i32x4.shl(y, 7), v128.load(TEMPER_7)));
  y = v128.xor(y, v128.and(i32x4.shl(y, 15), v128.load(TEMPER_15)));
  y = v128.xor(y, i32x4.shr_u(y, 18));
  return f32x4.mul(f32x4.convert_i32x4_s(v128.and(y, v128.load(LOW_24))), v128.load(TWO_TO_MINUS_24));
}

// Converts `count` untempered words (a multiple of 4) to uniform f32.
export function uniforms(words: usize, count: i32, out: usize): void {
  const end = words + (<usize> count << 2);
  for (; words < end; words += 16, out += 16) v128.store(out, uniform4(words));
}

// @ts-ignore: decorator
@inline
function radius4(u1: v128): v128 {
  return f32x4.sqrt(f32x4.mul(v128.load(MINUS_TWO), log4(f32x4.sub(v128.load(ONE), u1))));
}

// @ts-ignore: decorator
@inline
function cosine4(octant: v128, sinPolynomial: v128, cosPolynomial: v128): v128 {
  const swap = i32x4.eq(v128.and(octant, v128.load(INT_2)), v128.load(INT_2));
  const sign = i32x4.shl(v128.and(i32x4.add(octant, v128.load(INT_2)), v128.load(INT_4)), 29);
  return v128.xor(i32x4.relaxed_laneselect(sinPolynomial, cosPolynomial, swap), sign);
}

// @ts-ignore: decorator
@inline
function sine4(octant: v128, sinPolynomial: v128, cosPolynomial: v128): v128 {
  const swap = i32x4.eq(v128.and(octant, v128.load(INT_2)), v128.load(INT_2));
  const sign = i32x4.shl(v128.and(octant, v128.load(INT_4)), 29);
  return v128.xor(i32x4.relaxed_laneselect(cosPolynomial, sinPolynomial, swap), sign);
}

// Rounds four normals to f16 and scales them in f32. The values are not subnormal in f16.
// @ts-ignore: decorator
@inline
function scaledNormal(value: v128, scale: v128): v128 {
  return f32x4.mul(roundNormalHalf(value), scale);
}

// Rounds eight normals to f16, scales them in f32 and rounds them to f16 again, for all values of f16. This is rare, so the
// function is not inlined.
function storeSpecial(out: usize, low: v128, high: v128, scale: v128): void {
  store8<u16>(out, f32x4.mul(roundHalf(low), scale), f32x4.mul(roundHalf(high), scale));
}

// Stores sixteen normals, `a`, `b`, `c` and `d` in this order: rounded to f16, scaled in f32, rounded to f16 again. If a result
// is below `least`, one of its roundings may have had a subnormal result, and all sixteen are computed again.
// @ts-ignore: decorator
@inline
function storeF16(out: usize, a: v128, b: v128, c: v128, d: v128, scale: v128, least: v128): void {
  const a1 = scaledNormal(a, scale), b1 = scaledNormal(b, scale);
  const c1 = scaledNormal(c, scale), d1 = scaledNormal(d, scale);
  const low = i16x8.narrow_i32x4_u(normalHalfMagnitude(a1), normalHalfMagnitude(b1));
  const high = i16x8.narrow_i32x4_u(normalHalfMagnitude(c1), normalHalfMagnitude(d1));
  if (v128.any_true(i16x8.lt_s(i16x8.min_s(low, high), least))) {
    storeSpecial(out, a, b, scale);
    storeSpecial(out + 16, c, d, scale);
  } else {
    v128.store(out, v128.or(low, halfSigns(a1, b1)));
    v128.store(out, v128.or(high, halfSigns(c1, d1)), 16);
  }
}

// Stores eight normals, rounded to bf16, scaled in f32 and rounded to bf16 again.
// @ts-ignore: decorator
@inline
function storeBF16(out: usize, low: v128, high: v128, scale: v128): void {
  store8<i16>(out, f32x4.mul(roundBrain(low), scale), f32x4.mul(roundBrain(high), scale));
}

// A buffer for one part of the normals: first uniforms, then half of them become radii, then all become normals. Each step is
// a short loop. In one loop with all steps, V8 keeps each constant on the stack, and the processor cannot look far enough ahead
// to work on the next numbers while it waits for the current ones.
const PART: i32 = 1024;
const part: usize = memory.data(PART << 2, 64);

// The address of the next four of a block's first eight numbers, or of the first four of the next block.
// @ts-ignore: decorator
@inline
function nextFour(at: usize): usize {
  return at + 16 + ((at & 16) << 1);
}

// Converts the uniforms of blocks of 16 up to `end` to normals, by Box-Muller with PyTorch's pairs: the first eight uniforms are
// the radii and the others the angles; the first eight normals are the cosines and the others the sines.
function boxMuller(end: usize): void {
  for (let at = part; at < end; at = nextFour(at)) v128.store(at, radius4(v128.load(at)));
  for (let at = part; at < end; at = nextFour(at)) {
    const radius = v128.load(at);
    const angle = f32x4.mul(v128.load(TWO_PI), v128.load(at, 32));
    const octant = octant4(angle);
    const x = reduceAngle4(angle, octant);
    const z = f32x4.mul(x, x);
    const sin = sinReduced4(x, z);
    const cos = cosReduced4(z);
    v128.store(at, f32x4.mul(radius, cosine4(octant, sin, cos)));
    v128.store(at, f32x4.mul(radius, sine4(octant, sin, cos)), 32);
  }
}

// Converts `count` untempered words (a multiple of 16) to normals times `scale`; see `storeF16` for their rounding.
// @ts-ignore: decorator
@inline
function normalsOf<T>(words: usize, count: i32, out: usize, scale: f32): void {
  const factor = f32x4.splat(scale);
  // With a scale of at most 1, the second rounding has a subnormal result whenever the first one has. With a larger scale, all
  // normals take the exact way.
  const least = i16x8.splat(abs(scale) <= 1 ? 0x400 : 0x7fff);
  for (; count > 0; count -= PART, words += PART << 2) {
    const size = min(count, PART);
    const end = part + (<usize> size << 2);
    uniforms(words, size, part);
    boxMuller(end);
    for (let at = part; at < end; at += 64, out += 16 << shiftOf<T>()) {
      const a = v128.load(at), b = v128.load(at, 16), c = v128.load(at, 32), d = v128.load(at, 48);
      if (isFloat<T>()) {
        v128.store(out, f32x4.mul(a, factor));
        v128.store(out, f32x4.mul(b, factor), 16);
        v128.store(out, f32x4.mul(c, factor), 32);
        v128.store(out, f32x4.mul(d, factor), 48);
      } else if (isSigned<T>()) {
        storeBF16(out, a, b, factor);
        storeBF16(out + 16, c, d, factor);
      } else {
        storeF16(out, a, b, c, d, factor, least);
      }
    }
  }
}

export function normals(dtype: i32, words: usize, count: i32, out: usize, scale: f32): void {
  if (dtype == F16) normalsOf<u16>(words, count, out, scale);
  else if (dtype == BF16) normalsOf<i16>(words, count, out, scale);
  else normalsOf<f32>(words, count, out, scale);
}
