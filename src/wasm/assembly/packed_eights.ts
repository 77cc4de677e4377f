// Decodes packed pairs of eight rows at a time and transposes them. The bytes are transposed before they are decoded, when a vector
// has 32 numbers. The type parameter is the element type that numbers are rounded to, or u8 for MXFP4 that is stored as bf16:
// see `decodeBrainEights`.
import { BF16, F16 } from "../codes";
import { BRAIN_FIELDS } from "./constants";
import { roundTo, tables } from "./packed";

// Inputs of a block. Groups of inputs that share a scale consist of whole blocks.
export const BLOCK: i32 = 16;

// Bytes of the eight decoded numbers of an input.
// @ts-ignore: decorator
@inline
function strideOf<T>(): usize {
  return isBrain<T>() ? 16 : 32;
}

// @ts-ignore: decorator
@inline
function isBrain<T>(): bool {
  return sizeof<T>() == 1;
}

// The decoded numbers of a block if only some of them are needed, or if they are narrowed.
export const part: usize = memory.data(512, 16);

// Loads a word of each of four rows.
// @ts-ignore: decorator
@inline
export function gather4(from: usize, stride: usize): v128 {
  const first = v128.load32_lane(from + stride, v128.load32_zero(from), 1);
  return v128.load32_lane(from + 3 * stride, v128.load32_lane(from + 2 * stride, first, 2), 3);
}

// Interleaves the lower halves of two vectors of bytes.
// @ts-ignore: decorator
@inline
function zipLow(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

// @ts-ignore: decorator
@inline
function zipHigh(a: v128, b: v128): v128 {
  return v128.shuffle<i8>(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// Interleaves the words of two vectors: the lower halves, or the upper halves.
// @ts-ignore: decorator
@inline
function zipHalves(a: v128, b: v128, upper: bool): v128 {
  return upper
    ? v128.shuffle<i16>(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
    : v128.shuffle<i16>(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
}

// Decodes four numbers of one input, which are given as f32.
// @ts-ignore: decorator
@inline
function decodeFour<T>(value: v128, zero: v128, scale: v128, hasZeros: bool, out: usize): void {
  v128.store(out, roundTo<T>(f32x4.mul(hasZeros ? f32x4.sub(value, zero) : value, scale)));
}

// Decodes the numbers of one input: eight bf16, in which lower and upper rows alternate. With u8,
// `scale` is the reduction of their exponents; the subtraction saturates, so that zeros stay zeros.
// @ts-ignore: decorator
@inline
function decodeEight<T>(
  numbers: v128,
  zero: v128,
  upperZero: v128,
  scale: v128,
  upperScale: v128,
  hasZeros: bool,
  out: usize,
): void {
  if (isBrain<T>()) return v128.store(out, i16x8.sub_sat_u(numbers, scale));
  decodeFour<T>(i32x4.shl(numbers, 16), zero, scale, hasZeros, out);
  decodeFour<T>(v128.and(numbers, v128.load(BRAIN_FIELDS)), upperZero, upperScale, hasZeros, out + 16);
}

// Decodes 16 numbers: those of the eight rows of one input, and of the input after the next one.
// @ts-ignore: decorator
@inline
function decodeInputs<T>(
  numbers: v128,
  high: v128,
  low: v128,
  zero: v128,
  upperZero: v128,
  scale: v128,
  upperScale: v128,
  hasZeros: bool,
  out: usize,
): void {
  const highs = i8x16.relaxed_swizzle(high, numbers), lows = i8x16.relaxed_swizzle(low, numbers);
  decodeEight<T>(zipLow(lows, highs), zero, upperZero, scale, upperScale, hasZeros, out);
  decodeEight<T>(zipHigh(lows, highs), zero, upperZero, scale, upperScale, hasZeros, out + 2 * strideOf<T>());
}

// Decodes four inputs.
// @ts-ignore: decorator
@inline
function decodeFourInputs<T>(
  pairs: v128,
  high: v128,
  low: v128,
  zero: v128,
  upperZero: v128,
  scale: v128,
  upperScale: v128,
  hasZeros: bool,
  out: usize,
): void {
  const mask = i8x16.splat(15);
  const even = v128.and(pairs, mask), odd = v128.and(i16x8.shr_u(pairs, 4), mask);
  decodeInputs<T>(even, high, low, zero, upperZero, scale, upperScale, hasZeros, out);
  decodeInputs<T>(odd, high, low, zero, upperZero, scale, upperScale, hasZeros, out + strideOf<T>());
}

// Decodes half of a block: eight inputs, whose bytes are in words of rows 0 and 1, and of rows 2 and 3.
// @ts-ignore: decorator
@inline
function decodeHalf<T>(
  ab: v128,
  cd: v128,
  high: v128,
  low: v128,
  zero: v128,
  upperZero: v128,
  scale: v128,
  upperScale: v128,
  hasZeros: bool,
  out: usize,
): void {
  const first = v128.shuffle<i32>(ab, cd, 0, 4, 1, 5), second = v128.shuffle<i32>(ab, cd, 2, 6, 3, 7);
  decodeFourInputs<T>(first, high, low, zero, upperZero, scale, upperScale, hasZeros, out);
  decodeFourInputs<T>(second, high, low, zero, upperZero, scale, upperScale, hasZeros, out + 4 * strideOf<T>());
}

// Decodes a block: transposes eight bytes of each of the eight rows, and decodes four inputs at a time. Lower and upper rows
// alternate.
// @ts-ignore: decorator
@inline
export function decodeBlock<T>(
  from: usize,
  stride: usize,
  upper: usize,
  high: v128,
  low: v128,
  zero: v128,
  upperZero: v128,
  scale: v128,
  upperScale: v128,
  hasZeros: bool,
  out: usize,
): void {
  const to = from + upper;
  const a = zipLow(v128.load64_zero(from), v128.load64_zero(to));
  const b = zipLow(v128.load64_zero(from + stride), v128.load64_zero(to + stride));
  const c = zipLow(v128.load64_zero(from + 2 * stride), v128.load64_zero(to + 2 * stride));
  const d = zipLow(v128.load64_zero(from + 3 * stride), v128.load64_zero(to + 3 * stride));
  const ab = zipHalves(a, b, false), cd = zipHalves(c, d, false);
  decodeHalf<T>(ab, cd, high, low, zero, upperZero, scale, upperScale, hasZeros, out);
  const abHigh = zipHalves(a, b, true), cdHigh = zipHalves(c, d, true);
  decodeHalf<T>(abHigh, cdHigh, high, low, zero, upperZero, scale, upperScale, hasZeros, out + 8 * strideOf<T>());
}

// @ts-ignore: decorator
@inline
function eights<T>(
  hasZeros: bool,
  kind: i32,
  panels: i32,
  values: usize,
  valueStride: usize,
  valueHigh: usize,
  valueStep: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  scaleHigh: usize,
  scaleStep: usize,
  start: i32,
  count: i32,
  group: i32,
  out: usize,
  outStep: usize,
): void {
  const table = tables + (<usize> kind << 5);
  const high = v128.load(table), low = v128.load(table, 16);
  const end = start + count, toZeros = zeros - scales;
  for (; panels > 0; panels--, values += valueStep, scales += scaleStep, out += outStep) {
    let to = out, current = -1;
    let scale = i32x4.splat(0), upperScale = scale, zero = scale, upperZero = scale;
    for (let block = start & -BLOCK; block < end; block += BLOCK) {
      const index = block / group;
      if (index != current) {
        const at = <usize> index << 2;
        scale = gather4(scales + at, scaleStride);
        upperScale = gather4(scales + scaleHigh + at, scaleStride);
        if (zeros != 0) {
          zero = gather4(scales + toZeros + at, scaleStride);
          upperZero = gather4(scales + toZeros + scaleHigh + at, scaleStride);
        }
        current = index;
      }
      const skip = max(start - block, 0), n = min(end - block, BLOCK) - skip;
      const whole = n == BLOCK;
      decodeBlock<T>(
        values + (<usize> block >> 1),
        valueStride,
        valueHigh,
        high,
        low,
        zero,
        upperZero,
        scale,
        upperScale,
        hasZeros,
        whole ? to : part,
      );
      const next = to + <usize> n * strideOf<T>();
      if (!whole) { for (let from = part + <usize> skip * strideOf<T>(); to < next; to += 16, from += 16) v128.store(to, v128.load(from)); }
      to = next;
    }
  }
}

// Decodes the pairs from `start` to `start + count`, multiples of four, of panels of eight rows. Four rows of a panel follow each
// other in `stride` bytes, the upper four begin `high` bytes later, and the next panel begins `step` bytes later. `scales` and
// `zeros` have an f32 for each group of a row; without zero points, `zeros` is 0. The result has the eight numbers of each
// input one after the other, and `outStep` bytes from one panel to the next.
export function decodeEights(
  dtype: i32,
  kind: i32,
  panels: i32,
  values: usize,
  valueStride: usize,
  valueHigh: usize,
  valueStep: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  scaleHigh: usize,
  scaleStep: usize,
  start: i32,
  count: i32,
  group: i32,
  out: usize,
  outStep: usize,
): void {
  // Without zero points, the variants that round subtract zeros, so that the module has less code.
  if (dtype == F16) eights<u16>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStep);
  else if (dtype == BF16) eights<i16>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStep);
  else if (zeros != 0) eights<f32>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStep);
  else eights<f32>(false, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStep);
}
