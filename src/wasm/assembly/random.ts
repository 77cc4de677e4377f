// PyTorch's CPU random numbers. The Mersenne Twister is kept as a sliding window over its untempered words, so that
// "generate" is one recurrence with no block boundary: word[n] follows from words n - 624, n - 623 and n - 227.
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
  TWISTER_UPPER,
  TWISTER_MATRIX,
} from "./constants";
import { cosReduced4, log4, octant4, reduceAngle4, sinReduced4 } from "./math";
import { narrowFiniteHalf, roundHalf } from "./half";

const WINDOW: usize = 624 * 4;
const LAG: usize = 397 * 4;

// Appends `count` untempered words (a multiple of 4) behind the 624 words at `window`.
export function twist(window: usize, count: i32): void {
  const end = window + (<usize> count << 2);
  for (let p = window; p < end; p += 16) {
    const y = v128.or(
      v128.and(v128.load(p), v128.load(TWISTER_UPPER)),
      v128.and(v128.load(p, 4), v128.load(MAGNITUDE)),
    );
    const odd = i32x4.shr_s(i32x4.shl(y, 31), 31);
    const matrix = v128.and(odd, v128.load(TWISTER_MATRIX));
    v128.store(p + WINDOW, v128.xor(v128.xor(v128.load(p + LAG), i32x4.shr_u(y, 1)), matrix));
  }
}

// Tempers four words and makes of each a uniform f32 in [0, 1) with 24 bits.
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

// `count` uniforms (a multiple of 4) from untempered words, as f32.
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

// What is stored of a normal: itself, or rounded to f16, scaled in f32 and rounded to f16 again.
// @ts-ignore: decorator
@inline
function storeF16(out: usize, low: v128, high: v128, scale: v128): void {
  const a = narrowFiniteHalf(f32x4.mul(roundHalf(low), scale));
  const b = narrowFiniteHalf(f32x4.mul(roundHalf(high), scale));
  v128.store(out, i16x8.narrow_i32x4_u(a, b));
}

// `count` normals (a multiple of 16) from untempered words, by Box-Muller on blocks of 16 as PyTorch pairs them:
// words 0-7 give the radii, words 8-15 the angles; the cosines come first, then the sines.
// @ts-ignore: decorator
@inline
function normals<Half>(words: usize, count: i32, out: usize, scale: f32): void {
  const factor = f32x4.splat(scale);
  const end = words + (<usize> count << 2);
  for (; words < end; words += 64) {
    const angle0 = f32x4.mul(v128.load(TWO_PI), uniform4(words + 32));
    const octant0 = octant4(angle0);
    const x0 = reduceAngle4(angle0, octant0);
    const z0 = f32x4.mul(x0, x0);
    const sin0 = sinReduced4(x0, z0);
    const cos0 = cosReduced4(z0);
    const radius0 = radius4(uniform4(words));
    const a0 = f32x4.mul(radius0, cosine4(octant0, sin0, cos0));
    const b0 = f32x4.mul(radius0, sine4(octant0, sin0, cos0));

    const angle1 = f32x4.mul(v128.load(TWO_PI), uniform4(words + 48));
    const octant1 = octant4(angle1);
    const x1 = reduceAngle4(angle1, octant1);
    const z1 = f32x4.mul(x1, x1);
    const sin1 = sinReduced4(x1, z1);
    const cos1 = cosReduced4(z1);
    const radius1 = radius4(uniform4(words + 16));
    const a1 = f32x4.mul(radius1, cosine4(octant1, sin1, cos1));
    const b1 = f32x4.mul(radius1, sine4(octant1, sin1, cos1));

    if (isInteger<Half>()) {
      storeF16(out, a0, a1, factor);
      storeF16(out + 16, b0, b1, factor);
      out += 32;
    } else {
      v128.store(out, f32x4.mul(a0, factor));
      v128.store(out, f32x4.mul(a1, factor), 16);
      v128.store(out, f32x4.mul(b0, factor), 32);
      v128.store(out, f32x4.mul(b1, factor), 48);
      out += 64;
    }
  }
}

export function normalsF32(words: usize, count: i32, out: usize, scale: f32): void {
  normals<f32>(words, count, out, scale);
}

export function normalsF16(words: usize, count: i32, out: usize, scale: f32): void {
  normals<u16>(words, count, out, scale);
}
