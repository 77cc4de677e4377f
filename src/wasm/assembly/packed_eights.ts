// Decodes packed pairs of eight rows at a time and transposes them. The bytes are transposed before they are decoded, when a vector
// has 32 numbers.
import { BF16, F16 } from "../codes";
import { roundTo, tables } from "./packed";

// Inputs of a block. Groups of inputs that share a scale consist of whole blocks.
export const BLOCK: i32 = 16;

// The transposed bytes of a block: four vectors, each with two bytes of each of the eight rows.
const bytes: usize = memory.data(64, 16);

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

// Transposes eight bytes of each of the eight rows.
// @ts-ignore: decorator
@inline
function transposeBytes(lower: usize, upper: usize, stride: usize): void {
  const a = zipLow(v128.load64_zero(lower), v128.load64_zero(upper));
  const b = zipLow(v128.load64_zero(lower + stride), v128.load64_zero(upper + stride));
  const c = zipLow(v128.load64_zero(lower + 2 * stride), v128.load64_zero(upper + 2 * stride));
  const d = zipLow(v128.load64_zero(lower + 3 * stride), v128.load64_zero(upper + 3 * stride));
  const ac = zipLow(a, c), bd = zipLow(b, d);
  v128.store(bytes, zipLow(ac, bd));
  v128.store(bytes, zipHigh(ac, bd), 16);
  const acHigh = zipHigh(a, c), bdHigh = zipHigh(b, d);
  v128.store(bytes, zipLow(acHigh, bdHigh), 32);
  v128.store(bytes, zipHigh(acHigh, bdHigh), 48);
}

// Decodes four numbers of one input, the upper halves of whose f32 are given.
// @ts-ignore: decorator
@inline
function decodeFour<T>(value: v128, zero: v128, scale: v128, hasZeros: bool, out: usize): void {
  v128.store(out, roundTo<T>(f32x4.mul(hasZeros ? f32x4.sub(value, zero) : value, scale)));
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
  outStride: usize,
): void {
  const highs = i8x16.relaxed_swizzle(high, numbers), lows = i8x16.relaxed_swizzle(low, numbers);
  const none = i32x4.splat(0);
  const first = zipLow(lows, highs), second = zipHigh(lows, highs);
  decodeFour<T>(v128.shuffle<i16>(none, first, 0, 8, 1, 9, 2, 10, 3, 11), zero, scale, hasZeros, out);
  decodeFour<T>(v128.shuffle<i16>(none, first, 4, 12, 5, 13, 6, 14, 7, 15), upperZero, upperScale, hasZeros, out + 16);
  out += 2 * outStride;
  decodeFour<T>(v128.shuffle<i16>(none, second, 0, 8, 1, 9, 2, 10, 3, 11), zero, scale, hasZeros, out);
  decodeFour<T>(v128.shuffle<i16>(none, second, 4, 12, 5, 13, 6, 14, 7, 15), upperZero, upperScale, hasZeros, out + 16);
}

// Decodes `n` inputs of a block after the first `skip`, both multiples of four.
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
  skip: i32,
  n: i32,
  out: usize,
  outStride: usize,
): void {
  const mask = i8x16.splat(15);
  transposeBytes(from, from + upper, stride);
  const first = bytes + (<usize> skip << 2);
  for (let at = first, end = first + (<usize> n << 2); at < end; at += 16, out += 4 * outStride) {
    const pairs = v128.load(at);
    const even = v128.and(pairs, mask), odd = v128.and(i16x8.shr_u(pairs, 4), mask);
    decodeInputs<T>(even, high, low, zero, upperZero, scale, upperScale, hasZeros, out, outStride);
    decodeInputs<T>(odd, high, low, zero, upperZero, scale, upperScale, hasZeros, out + outStride, outStride);
  }
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
  outStride: usize,
  outStep: usize,
): void {
  const table = tables + (<usize> kind << 5);
  const high = v128.load(table), low = v128.load(table, 16);
  const end = start + count;
  for (; panels > 0; panels--, values += valueStep, scales += scaleStep, zeros += scaleStep, out += outStep) {
    let to = out, current = -1;
    let scale = i32x4.splat(0), upperScale = scale, zero = scale, upperZero = scale;
    for (let block = start & -BLOCK; block < end; block += BLOCK) {
      const index = block / group;
      if (index != current) {
        const at = <usize> index << 2;
        scale = gather4(scales + at, scaleStride);
        upperScale = gather4(scales + scaleHigh + at, scaleStride);
        if (hasZeros) {
          zero = gather4(zeros + at, scaleStride);
          upperZero = gather4(zeros + scaleHigh + at, scaleStride);
        }
        current = index;
      }
      const skip = max(start - block, 0), n = min(end - block, BLOCK) - skip;
      const from = values + (<usize> block >> 1);
      decodeBlock<T>(
        from,
        valueStride,
        valueHigh,
        high,
        low,
        zero,
        upperZero,
        scale,
        upperScale,
        hasZeros,
        skip,
        n,
        to,
        outStride,
      );
      to += <usize> n * outStride;
    }
  }
}

// Decodes the pairs from `start` to `start + count`, multiples of four, of panels of eight rows. Four rows of a panel follow each
// other in `stride` bytes, the upper four begin `high` bytes later, and the next panel begins `step` bytes later. `scales` and
// `zeros` have an f32 for each group of a row; without zero points, `zeros` is 0. The result has the eight numbers of each
// input, `outStride` bytes from one input to the next, and `outStep` from one panel to the next.
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
  outStride: usize,
  outStep: usize,
): void {
  if (zeros != 0) {
    if (dtype == F16) eights<u16>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
    else if (dtype == BF16) eights<i16>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
    else eights<f32>(true, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
  } else {
    if (dtype == F16) eights<u16>(false, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
    else if (dtype == BF16) eights<i16>(false, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
    else eights<f32>(false, kind, panels, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, start, count, group, out, outStride, outStep);
  }
}
