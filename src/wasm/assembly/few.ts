// Products of a few rows. Packing the weights costs more than a few rows gain from it. They are widened in registers, or for a few
// rows and columns at a time in L1. The bits are those of `multiply`.
import { BF16, F16, F32 } from "../codes";
import { anySpecial4, highFour, load4, lowFour, shiftOf } from "./element";
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
  groups: i32,
  depth: i32,
  a: usize,
  b: usize,
  stride: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): i32 {
  const end = a + (<usize> depth << 2);
  let g: i32 = 0;
  for (; g + 4 <= groups; g += 4, b += 64, sums += 128, c += 128) {
    let c00 = begin(sums, first), c01 = begin(sums + 16, first);
    let c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
    let c20 = begin(sums + 64, first), c21 = begin(sums + 80, first);
    let c30 = begin(sums + 96, first), c31 = begin(sums + 112, first);
    for (let x = a, from = b; x < end; x += 4, from += stride) {
      const bits0 = v128.load(from), bits1 = v128.load(from, 16), bits2 = v128.load(from, 32), bits3 = v128.load(from, 48);
      const value = v128.load32_splat(x);
      if (!isSigned<T>() && anySpecial4(bits0, bits1, bits2, bits3)) {
        c00 = f32x4.relaxed_madd(value, lowFour<T>(bits0, true, true), c00);
        c01 = f32x4.relaxed_madd(value, highFour<T>(bits0, true, true), c01);
        c10 = f32x4.relaxed_madd(value, lowFour<T>(bits1, true, true), c10);
        c11 = f32x4.relaxed_madd(value, highFour<T>(bits1, true, true), c11);
        c20 = f32x4.relaxed_madd(value, lowFour<T>(bits2, true, true), c20);
        c21 = f32x4.relaxed_madd(value, highFour<T>(bits2, true, true), c21);
        c30 = f32x4.relaxed_madd(value, lowFour<T>(bits3, true, true), c30);
        c31 = f32x4.relaxed_madd(value, highFour<T>(bits3, true, true), c31);
      } else {
        c00 = f32x4.relaxed_madd(value, lowFour<T>(bits0, true, false), c00);
        c01 = f32x4.relaxed_madd(value, highFour<T>(bits0, true, false), c01);
        c10 = f32x4.relaxed_madd(value, lowFour<T>(bits1, true, false), c10);
        c11 = f32x4.relaxed_madd(value, highFour<T>(bits1, true, false), c11);
        c20 = f32x4.relaxed_madd(value, lowFour<T>(bits2, true, false), c20);
        c21 = f32x4.relaxed_madd(value, highFour<T>(bits2, true, false), c21);
        c30 = f32x4.relaxed_madd(value, lowFour<T>(bits3, true, false), c30);
        c31 = f32x4.relaxed_madd(value, highFour<T>(bits3, true, false), c31);
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
  groups: i32,
  count: i32,
  a: usize,
  b: usize,
  stride: usize,
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
    if (dtype == F16) done = oneRow<u16>(groups, n, a, b, stride, sums, c, first, isLast, add);
    else done = oneRow<i16>(groups, n, a, b, stride, sums, c, first, isLast, add);
  }
  return done;
}

// Multiplies tiles of A by staged rows of weights. A row has `groups` groups of eight consecutive elements. With `pairs`, the even
// elements of a group make its lower four sums and the odd ones its upper four, which widens 16-bit elements with the fewest
// instructions: their groups are always pairs. A has `rows` rows of `depth` values, in tiles from `packFew`. The staged rows
// are `count` rows of B from row `start` on. See `multiplyWide` for `sums`, `first`, `last` and `add`.
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
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const panel = <usize> rows << 5;
  const groupBytes: usize = dtype == F32 ? 32 : 16;
  let done: i32 = 0;
  if (rows == 1 && dtype != F32) {
    done = oneRowOf(dtype, groups, count, a + (<usize> start << 2), b, stride, sums, c, first, last, add);
  }
  for (let k: i32 = 0; k < count && done < groups; k += WIDE_ROWS, b += <usize> WIDE_ROWS * stride, first = false) {
    const n = min(WIDE_ROWS, count - k);
    const isLast = last && k + n == count;
    for (let g = done; g < groups; g += WIDE_GROUPS) {
      const size = min(WIDE_GROUPS, groups - g);
      const at = <usize> g * panel;
      const from = b + <usize> g * groupBytes, s = sums + at, to = c + at;
      if (dtype == BF16) {
        multiplyBrain(rows, size, depth, a, start + k, n, from, stride, 16, s, to, first, isLast, add);
      } else {
        widenFew(dtype, pairs, from, stride, n, size);
        multiplyWide(rows, size, depth, a, start + k, n, s, to, first, isLast, add);
      }
    }
  }
}

// The address of four sums of consecutive columns: the columns 4 * `four` to 4 * `four` + 3 of `groups` groups. If they are split,
// the first half of the columns are the lower fours of the groups, and the second half the upper fours.
// @ts-ignore: decorator
@inline
function fourOf(split: bool, four: i32, groups: i32, panel: usize, out: usize): usize {
  if (!split) return out + <usize> (four >> 1) * panel + (<usize> (four & 1) << 4);
  return four < groups ? out + <usize> four * panel : out + <usize> (four - groups) * panel + 16;
}

// Moves sums of pairs to the order of their columns.
export function orderFew(split: bool, rows: i32, groups: i32, sums: usize, out: usize): void {
  const panel = <usize> rows << 5;
  for (let g: i32 = 0; g < groups; g++) {
    let first = fourOf(split, 2 * g, groups, panel, out), second = fourOf(split, 2 * g + 1, groups, panel, out);
    for (const end = sums + panel; sums < end; sums += 32, first += 32, second += 32) {
      const even = v128.load(sums), odd = v128.load(sums, 16);
      v128.store(first, v128.shuffle<i32>(even, odd, 0, 4, 1, 5));
      v128.store(second, v128.shuffle<i32>(even, odd, 2, 6, 3, 7));
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
