// Products of a few rows. Packing the weights costs more than a few rows gain from it. They are widened in registers, or for a few
// rows and columns at a time in L1. The bits are those of `multiply`.
import { BF16, F16, F32 } from "../codes";
import { anySpecial4, gather8, highFour, load4, lowFour, shiftOf } from "./element";
import { begin, finish, multiplyBrain, multiplyWide, tileHeight, WIDE_GROUPS, WIDE_ROWS } from "./few_tiles";
import { widenFew } from "./few_widen";

// The rows of weights for which one row of A is multiplied before its chains are stored. With a short loop, the processor overlaps
// the chains of several groups.
const CHUNK: i32 = 16;

// Multiplies one row of A by the groups of eight 16-bit weights in `depth` rows, four groups at a time: their eight chains hide the
// latency of the multiply-adds, and the weights of a row are a whole cache line.
// @ts-ignore: decorator
@inline
function oneRow<T>(
  pairs: bool,
  groups: i32,
  depth: i32,
  a: usize,
  b: usize,
  stride: usize,
  step: usize,
  high: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): i32 {
  const end = a + (<usize> depth << 2);
  let g: i32 = 0;
  for (; g + 4 <= groups; g += 4, b += 4 * step, sums += 128, c += 128) {
    let c00 = begin(sums, first), c01 = begin(sums + 16, first);
    let c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
    let c20 = begin(sums + 64, first), c21 = begin(sums + 80, first);
    let c30 = begin(sums + 96, first), c31 = begin(sums + 112, first);
    for (let x = a, from = b; x < end; x += 4, from += stride) {
      const upper = from + high;
      const bits0 = gather8(pairs, from, upper);
      const bits1 = gather8(pairs, from + step, upper + step);
      const bits2 = gather8(pairs, from + 2 * step, upper + 2 * step);
      const bits3 = gather8(pairs, from + 3 * step, upper + 3 * step);
      const value = v128.load32_splat(x);
      if (!isSigned<T>() && anySpecial4(bits0, bits1, bits2, bits3)) {
        c00 = f32x4.relaxed_madd(value, lowFour<T>(bits0, pairs, true), c00);
        c01 = f32x4.relaxed_madd(value, highFour<T>(bits0, pairs, true), c01);
        c10 = f32x4.relaxed_madd(value, lowFour<T>(bits1, pairs, true), c10);
        c11 = f32x4.relaxed_madd(value, highFour<T>(bits1, pairs, true), c11);
        c20 = f32x4.relaxed_madd(value, lowFour<T>(bits2, pairs, true), c20);
        c21 = f32x4.relaxed_madd(value, highFour<T>(bits2, pairs, true), c21);
        c30 = f32x4.relaxed_madd(value, lowFour<T>(bits3, pairs, true), c30);
        c31 = f32x4.relaxed_madd(value, highFour<T>(bits3, pairs, true), c31);
      } else {
        c00 = f32x4.relaxed_madd(value, lowFour<T>(bits0, pairs, false), c00);
        c01 = f32x4.relaxed_madd(value, highFour<T>(bits0, pairs, false), c01);
        c10 = f32x4.relaxed_madd(value, lowFour<T>(bits1, pairs, false), c10);
        c11 = f32x4.relaxed_madd(value, highFour<T>(bits1, pairs, false), c11);
        c20 = f32x4.relaxed_madd(value, lowFour<T>(bits2, pairs, false), c20);
        c21 = f32x4.relaxed_madd(value, highFour<T>(bits2, pairs, false), c21);
        c30 = f32x4.relaxed_madd(value, lowFour<T>(bits3, pairs, false), c30);
        c31 = f32x4.relaxed_madd(value, highFour<T>(bits3, pairs, false), c31);
      }
    }
    finish(sums, c, c00, last, add);
    finish(sums + 16, c + 16, c01, last, add);
    finish(sums + 32, c + 32, c10, last, add);
    finish(sums + 48, c + 48, c11, last, add);
    finish(sums + 64, c + 64, c20, last, add);
    finish(sums + 80, c + 80, c21, last, add);
    finish(sums + 96, c + 96, c30, last, add);
    finish(sums + 112, c + 112, c31, last, add);
  }
  return g;
}

// Multiplies one row of A by as many groups of eight 16-bit weights as `oneRow` can, and returns their number.
function oneRowOf(
  dtype: i32,
  pairs: bool,
  groups: i32,
  count: i32,
  a: usize,
  b: usize,
  stride: usize,
  step: usize,
  high: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): i32 {
  let done: i32 = 0;
  for (let k: i32 = 0; k < count; k += CHUNK, a += CHUNK << 2, b += <usize> CHUNK * stride, first = false) {
    const n = min(CHUNK, count - k);
    const isLast = last && k + n == count;
    if (dtype == F16) {
      if (pairs) done = oneRow<u16>(true, groups, n, a, b, stride, step, high, sums, c, first, isLast, add);
      else done = oneRow<u16>(false, groups, n, a, b, stride, step, high, sums, c, first, isLast, add);
    } else {
      if (pairs) done = oneRow<i16>(true, groups, n, a, b, stride, step, high, sums, c, first, isLast, add);
      else done = oneRow<i16>(false, groups, n, a, b, stride, step, high, sums, c, first, isLast, add);
    }
  }
  return done;
}

// Multiplies tiles of A by staged rows of weights; see `widenRows` for their groups. A has `rows` rows of `depth` values, in tiles
// from `packFew`. The staged rows are `count` rows of B from row `start` on. See `multiplyWide` for `sums`, `first`, `last` and
// `add`.
export function multiplyFew(
  dtype: i32,
  pairs: bool,
  rows: i32,
  groups: i32,
  depth: i32,
  a: usize,
  start: i32,
  count: i32,
  b: usize,
  stride: usize,
  step: usize,
  high: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const panel = <usize> rows << 5;
  let done: i32 = 0;
  if (rows == 1 && dtype != F32) {
    done = oneRowOf(dtype, pairs, groups, count, a + (<usize> start << 2), b, stride, step, high, sums, c, first, last, add);
  }
  for (let k: i32 = 0; k < count && done < groups; k += WIDE_ROWS, b += <usize> WIDE_ROWS * stride, first = false) {
    const n = min(WIDE_ROWS, count - k);
    const isLast = last && k + n == count;
    for (let g = done; g < groups; g += WIDE_GROUPS) {
      const size = min(WIDE_GROUPS, groups - g);
      const at = <usize> g * panel;
      const from = b + <usize> g * step, s = sums + at, to = c + at;
      if (dtype == BF16) {
        multiplyBrain(pairs, rows, size, depth, a, start + k, n, from, stride, step, high, s, to, first, isLast, add);
      } else {
        widenFew(dtype, pairs, from, stride, n, size, step, high);
        multiplyWide(rows, size, depth, a, start + k, n, s, to, first, isLast, add);
      }
    }
  }
}

// Packs rows of A into tiles of [depth][height] f32. `depth` is a multiple of 4; `stride` is the distance between rows in bytes.
// @ts-ignore: decorator
@inline
function packTiles<T>(source: usize, stride: usize, depth: i32, rows: i32, out: usize): void {
  for (let left = rows; left > 0;) {
    const height = tileHeight(left);
    const step = <usize> height << 2;
    for (let r: i32 = 0; r < height; r++, source += stride) {
      let to = out + (<usize> r << 2);
      for (let from = source, end = source + (<usize> depth << shiftOf<T>()); from < end; from += 4 << shiftOf<T>()) {
        const x = load4<T>(from);
        v128.store32_lane(to, x, 0);
        v128.store32_lane(to + step, x, 1);
        v128.store32_lane(to + 2 * step, x, 2);
        v128.store32_lane(to + 3 * step, x, 3);
        to += 4 * step;
      }
    }
    out += <usize> depth * step;
    left -= height;
  }
}

export function packFew(dtype: i32, source: usize, stride: usize, depth: i32, rows: i32, out: usize): void {
  if (dtype == F16) packTiles<u16>(source, stride, depth, rows, out);
  else if (dtype == BF16) packTiles<i16>(source, stride, depth, rows, out);
  else packTiles<f32>(source, stride, depth, rows, out);
}
