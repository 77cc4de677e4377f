// Products of a few rows. The weights are widened when they are multiplied, because packing them costs more than a few rows
// gain from it. The bits are those of `multiply`: each sum is a chain of fused multiply-adds over ascending k from zero, then
// one addition to the old value of C.
import { BF16, F16 } from "../codes";
import { anySpecial, anySpecial4, gather8, highFour, load4, lowFour, shiftOf } from "./element";

// The rows of weights that are multiplied before the chains are stored. With a short loop, the processor overlaps the chains of
// several groups.
const CHUNK: i32 = 16;

// The maximum number of rows of a tile of A. Its twelve sums, two vectors of weights and a value fit in V8's 15 registers.
const TILE: i32 = 6;

// Starts a chain at zero, or continues a stored chain.
// @ts-ignore: decorator
@inline
function begin(sums: usize, first: bool): v128 {
  return first ? f32x4.splat(0) : v128.load(sums);
}

// Stores a chain, or adds its sum to C.
// @ts-ignore: decorator
@inline
function finish(sums: usize, c: usize, value: v128, last: bool, add: bool): void {
  if (!last) v128.store(sums, value);
  else v128.store(c, add ? f32x4.add(v128.load(c), value) : value);
}

// Multiplies a tile of A by the groups of eight weights in `depth` rows. `rows`, the height of the tile, is a constant.
// @ts-ignore: decorator
@inline
export function tile<T>(
  rows: i32,
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
  panelStride: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const aStep = <usize> rows << 2;
  const aEnd = a + <usize> depth * aStep;
  for (let g: i32 = 0; g < groups; g++, b += step, sums += panelStride, c += panelStride) {
    let c00 = begin(sums, first), c01 = begin(sums + 16, first);
    let c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
    if (rows > 1) c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
    if (rows > 2) c20 = begin(sums + 64, first), c21 = begin(sums + 80, first);
    if (rows > 3) c30 = begin(sums + 96, first), c31 = begin(sums + 112, first);
    if (rows > 4) c40 = begin(sums + 128, first), c41 = begin(sums + 144, first);
    if (rows > 5) c50 = begin(sums + 160, first), c51 = begin(sums + 176, first);
    for (let x = a, from = b; x < aEnd; x += aStep, from += stride) {
      let low: v128, high4: v128;
      if (isFloat<T>()) {
        low = v128.load(from);
        high4 = v128.load(from + (pairs ? 16 : high));
        if (pairs) {
          const even = v128.shuffle<f32>(low, high4, 0, 2, 4, 6);
          high4 = v128.shuffle<f32>(low, high4, 1, 3, 5, 7);
          low = even;
        }
      } else if (isSigned<T>() && !pairs) {
        low = load4<T>(from);
        high4 = load4<T>(from + high);
      } else {
        const bits = gather8(pairs, from, from + high);
        // Two branches, so that `special` is a constant in each.
        if (!isSigned<T>() && anySpecial(bits)) {
          low = lowFour<T>(bits, pairs, true);
          high4 = highFour<T>(bits, pairs, true);
        } else {
          low = lowFour<T>(bits, pairs, false);
          high4 = highFour<T>(bits, pairs, false);
        }
      }
      let value = v128.load32_splat(x);
      c00 = f32x4.relaxed_madd(value, low, c00);
      c01 = f32x4.relaxed_madd(value, high4, c01);
      if (rows > 1) {
        value = v128.load32_splat(x, 4);
        c10 = f32x4.relaxed_madd(value, low, c10);
        c11 = f32x4.relaxed_madd(value, high4, c11);
      }
      if (rows > 2) {
        value = v128.load32_splat(x, 8);
        c20 = f32x4.relaxed_madd(value, low, c20);
        c21 = f32x4.relaxed_madd(value, high4, c21);
      }
      if (rows > 3) {
        value = v128.load32_splat(x, 12);
        c30 = f32x4.relaxed_madd(value, low, c30);
        c31 = f32x4.relaxed_madd(value, high4, c31);
      }
      if (rows > 4) {
        value = v128.load32_splat(x, 16);
        c40 = f32x4.relaxed_madd(value, low, c40);
        c41 = f32x4.relaxed_madd(value, high4, c41);
      }
      if (rows > 5) {
        value = v128.load32_splat(x, 20);
        c50 = f32x4.relaxed_madd(value, low, c50);
        c51 = f32x4.relaxed_madd(value, high4, c51);
      }
    }
    finish(sums, c, c00, last, add);
    finish(sums + 16, c + 16, c01, last, add);
    if (rows > 1) {
      finish(sums + 32, c + 32, c10, last, add);
      finish(sums + 48, c + 48, c11, last, add);
    }
    if (rows > 2) {
      finish(sums + 64, c + 64, c20, last, add);
      finish(sums + 80, c + 80, c21, last, add);
    }
    if (rows > 3) {
      finish(sums + 96, c + 96, c30, last, add);
      finish(sums + 112, c + 112, c31, last, add);
    }
    if (rows > 4) {
      finish(sums + 128, c + 128, c40, last, add);
      finish(sums + 144, c + 144, c41, last, add);
    }
    if (rows > 5) {
      finish(sums + 160, c + 160, c50, last, add);
      finish(sums + 176, c + 176, c51, last, add);
    }
  }
}

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
): void {
  const end = a + (<usize> depth << 2);
  for (; groups >= 4; groups -= 4, b += 4 * step, sums += 128, c += 128) {
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
  if (groups > 0) tile<T>(1, pairs, groups, depth, a, b, stride, step, high, sums, c, 32, first, last, add);
}

// Multiplies tiles of A by staged rows of weights; see `widenRows` for their groups. A has `rows` rows of `depth` values, in tiles
// from `packFew`. The staged rows are `count` rows of B from row `start` on. `sums` stores the chains between calls, in the
// layout of C: groups of [rows][8]. `first` starts them. `last` writes them to C; with `add`, they are added to C.
// @ts-ignore: decorator
@inline
function fewRows<T>(
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
  for (let k: i32 = 0; k < count; k += CHUNK, b += <usize> CHUNK * stride, first = false) {
    const n = min(CHUNK, count - k);
    const isLast = last && k + n == count;
    if (!isFloat<T>() && rows == 1) {
      oneRow<T>(pairs, groups, n, a + (<usize> (start + k) << 2), b, stride, step, high, sums, c, first, isLast, add);
      continue;
    }
    let s = sums, to = c, tiles = a;
    for (let left = rows; left > 0;) {
      const height = tileHeight(left);
      const x = tiles + (<usize> (start + k) * height << 2);
      if (height == 1) tile<T>(1, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      else if (height == 2) tile<T>(2, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      else if (height == 3) tile<T>(3, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      else if (height == 4) tile<T>(4, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      else if (height == 5) tile<T>(5, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      else tile<T>(6, pairs, groups, n, x, b, stride, step, high, s, to, panel, first, isLast, add);
      tiles += <usize> (depth * height) << 2;
      s += <usize> height << 5;
      to += <usize> height << 5;
      left -= height;
    }
  }
}

// The height of the first tile of `rows` rows: all tiles have about the same height.
// @ts-ignore: decorator
@inline
export function tileHeight(rows: i32): i32 {
  const tiles = (rows + TILE - 1) / TILE;
  return (rows + tiles - 1) / tiles;
}

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
  if (dtype == F16) {
    if (pairs) fewRows<u16>(true, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
    else fewRows<u16>(false, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
  } else if (dtype == BF16) {
    if (pairs) fewRows<i16>(true, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
    else fewRows<i16>(false, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
  } else {
    if (pairs) fewRows<f32>(true, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
    else fewRows<f32>(false, rows, groups, depth, a, start, count, b, stride, step, high, sums, c, first, last, add);
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
