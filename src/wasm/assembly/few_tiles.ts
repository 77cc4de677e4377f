// Products of tiles of a few rows of A with groups of eight weights. The type parameter is f32 for widened weights, and i16 for
// bf16 whose lower and upper fours alternate. The bits are those of `multiply`: each sum is a chain of fused multiply-adds
// over ascending k from zero, then one addition to the old value of C.

import { lower, upper, upperAgain } from "./element";

// The maximum number of rows of weights, and of groups of eight columns, that are widened at a time. They stay in L1.
export const WIDE_ROWS: i32 = 64;
export const WIDE_GROUPS: i32 = 12;

// The distance between the panels of widened weights, each [rows][8] f32.
export const WIDE_STEP: usize = 2048;

// The widened weights.
export const wide: usize = memory.data(24576, 64);

// The height of the first tile of `rows` rows of A. The tiles of each height have nine to twelve chains, which hide the latency of
// the multiply-adds. The sums of a tile, its weights and a value fit in V8's 15 registers.
// @ts-ignore: decorator
@inline
export function tileHeight(rows: i32): i32 {
  if (rows == 4) return 2;
  if (rows == 7) return 5;
  return min(rows, 6);
}

// Starts a chain at zero, or continues a stored chain.
// @ts-ignore: decorator
@inline
export function begin(sums: usize, first: bool): v128 {
  return first ? f32x4.splat(0) : v128.load(sums);
}

// Stores a chain, or adds its sum to C.
// @ts-ignore: decorator
@inline
export function finish(sums: usize, c: usize, value: v128, last: bool, add: bool): void {
  if (!last) v128.store(sums, value);
  else v128.store(c, add ? f32x4.add(v128.load(c), value) : value);
}

// Multiplies a tile by one group. `rows`, the height of the tile, is a constant.
// @ts-ignore: decorator
@inline
function oneGroup<T>(
  rows: i32,
  depth: i32,
  a: usize,
  b: usize,
  stride: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const aStep = <usize> rows << 2;
  let c00 = begin(sums, first), c01 = begin(sums + 16, first);
  let c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
  if (rows > 1) c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
  if (rows > 2) c20 = begin(sums + 64, first), c21 = begin(sums + 80, first);
  if (rows > 3) c30 = begin(sums + 96, first), c31 = begin(sums + 112, first);
  if (rows > 4) c40 = begin(sums + 128, first), c41 = begin(sums + 144, first);
  if (rows > 5) c50 = begin(sums + 160, first), c51 = begin(sums + 176, first);
  for (const end = a + <usize> depth * aStep; a < end; a += aStep, b += stride) {
    const low = lower<T>(b), high4 = upper<T>(b);
    let value = v128.load32_splat(a);
    c00 = f32x4.relaxed_madd(value, low, c00);
    c01 = f32x4.relaxed_madd(value, high4, c01);
    if (rows > 1) {
      value = v128.load32_splat(a, 4);
      c10 = f32x4.relaxed_madd(value, low, c10);
      c11 = f32x4.relaxed_madd(value, high4, c11);
    }
    if (rows > 2) {
      value = v128.load32_splat(a, 8);
      c20 = f32x4.relaxed_madd(value, low, c20);
      c21 = f32x4.relaxed_madd(value, high4, c21);
    }
    if (rows > 3) {
      value = v128.load32_splat(a, 12);
      c30 = f32x4.relaxed_madd(value, low, c30);
      c31 = f32x4.relaxed_madd(value, high4, c31);
    }
    if (rows > 4) {
      value = v128.load32_splat(a, 16);
      c40 = f32x4.relaxed_madd(value, low, c40);
      c41 = f32x4.relaxed_madd(value, high4, c41);
    }
    if (rows > 5) {
      value = v128.load32_splat(a, 20);
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

// Multiplies a tile of one or two rows by three groups.
// @ts-ignore: decorator
@inline
function threeGroups<T>(
  rows: i32,
  depth: i32,
  a: usize,
  b: usize,
  stride: usize,
  sums: usize,
  c: usize,
  panel: usize,
  step: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const aStep = <usize> rows << 2;
  const sums1 = sums + panel, sums2 = sums1 + panel;
  let c00 = begin(sums, first), c01 = begin(sums + 16, first);
  let c02 = begin(sums1, first), c03 = begin(sums1 + 16, first);
  let c04 = begin(sums2, first), c05 = begin(sums2 + 16, first);
  let c10 = c00, c11 = c00, c12 = c00, c13 = c00, c14 = c00, c15 = c00;
  if (rows > 1) {
    c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
    c12 = begin(sums1 + 32, first), c13 = begin(sums1 + 48, first);
    c14 = begin(sums2 + 32, first), c15 = begin(sums2 + 48, first);
  }
  for (const end = a + <usize> depth * aStep; a < end; a += aStep, b += stride) {
    const value0 = v128.load32_splat(a), value1 = rows > 1 ? v128.load32_splat(a, 4) : value0;
    const b1 = b + step, b2 = b1 + step;
    let weights = lower<T>(b);
    c00 = f32x4.relaxed_madd(value0, weights, c00);
    if (rows > 1) c10 = f32x4.relaxed_madd(value1, weights, c10);
    weights = upperAgain<T>(b);
    c01 = f32x4.relaxed_madd(value0, weights, c01);
    if (rows > 1) c11 = f32x4.relaxed_madd(value1, weights, c11);
    weights = lower<T>(b1);
    c02 = f32x4.relaxed_madd(value0, weights, c02);
    if (rows > 1) c12 = f32x4.relaxed_madd(value1, weights, c12);
    weights = upperAgain<T>(b1);
    c03 = f32x4.relaxed_madd(value0, weights, c03);
    if (rows > 1) c13 = f32x4.relaxed_madd(value1, weights, c13);
    weights = lower<T>(b2);
    c04 = f32x4.relaxed_madd(value0, weights, c04);
    if (rows > 1) c14 = f32x4.relaxed_madd(value1, weights, c14);
    weights = upperAgain<T>(b2);
    c05 = f32x4.relaxed_madd(value0, weights, c05);
    if (rows > 1) c15 = f32x4.relaxed_madd(value1, weights, c15);
  }
  const out1 = c + panel, out2 = out1 + panel;
  finish(sums, c, c00, last, add);
  finish(sums + 16, c + 16, c01, last, add);
  finish(sums1, out1, c02, last, add);
  finish(sums1 + 16, out1 + 16, c03, last, add);
  finish(sums2, out2, c04, last, add);
  finish(sums2 + 16, out2 + 16, c05, last, add);
  if (rows > 1) {
    finish(sums + 32, c + 32, c10, last, add);
    finish(sums + 48, c + 48, c11, last, add);
    finish(sums1 + 32, out1 + 32, c12, last, add);
    finish(sums1 + 48, out1 + 48, c13, last, add);
    finish(sums2 + 32, out2 + 32, c14, last, add);
    finish(sums2 + 48, out2 + 48, c15, last, add);
  }
}

// Multiplies a tile of three rows by half of three groups: all of the first or the third one, `whole`, and the lower or upper
// four of the second one, `half`. `at1` and `at2` are the offsets of the sums of the upper four of `whole`, and of `half`.
// @ts-ignore: decorator
@inline
function threeRows<T>(
  depth: i32,
  a: usize,
  whole: usize,
  half: usize,
  isUpper: bool,
  stride: usize,
  sums: usize,
  c: usize,
  at1: usize,
  at2: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const sums1 = sums + at1, sums2 = sums + at2;
  let c00 = begin(sums, first), c10 = begin(sums + 32, first), c20 = begin(sums + 64, first);
  let c01 = begin(sums1, first), c11 = begin(sums1 + 32, first), c21 = begin(sums1 + 64, first);
  let c02 = begin(sums2, first), c12 = begin(sums2 + 32, first), c22 = begin(sums2 + 64, first);
  for (const end = a + <usize> depth * 12; a < end; a += 12, whole += stride, half += stride) {
    const weights0 = lower<T>(whole), weights1 = upper<T>(whole);
    const weights2 = isUpper ? upper<T>(half) : lower<T>(half);
    let value = v128.load32_splat(a);
    c00 = f32x4.relaxed_madd(value, weights0, c00);
    c01 = f32x4.relaxed_madd(value, weights1, c01);
    c02 = f32x4.relaxed_madd(value, weights2, c02);
    value = v128.load32_splat(a, 4);
    c10 = f32x4.relaxed_madd(value, weights0, c10);
    c11 = f32x4.relaxed_madd(value, weights1, c11);
    c12 = f32x4.relaxed_madd(value, weights2, c12);
    value = v128.load32_splat(a, 8);
    c20 = f32x4.relaxed_madd(value, weights0, c20);
    c21 = f32x4.relaxed_madd(value, weights1, c21);
    c22 = f32x4.relaxed_madd(value, weights2, c22);
  }
  const out1 = c + at1, out2 = c + at2;
  finish(sums, c, c00, last, add);
  finish(sums + 32, c + 32, c10, last, add);
  finish(sums + 64, c + 64, c20, last, add);
  finish(sums1, out1, c01, last, add);
  finish(sums1 + 32, out1 + 32, c11, last, add);
  finish(sums1 + 64, out1 + 64, c21, last, add);
  finish(sums2, out2, c02, last, add);
  finish(sums2 + 32, out2 + 32, c12, last, add);
  finish(sums2 + 64, out2 + 64, c22, last, add);
}

// Multiplies all tiles of A, from `packFew`, by `depth` rows of weights. `a` has `aDepth` values in each row; the weights are
// the rows from `start` on. `sums` stores the chains between calls, in the layout of C: groups of [rows][8]. `first` starts
// them. `last` writes them to C; with `add`, they are added to C.
// @ts-ignore: decorator
@inline
function multiplyPanels<T>(
  rows: i32,
  groups: i32,
  aDepth: i32,
  a: usize,
  start: i32,
  depth: i32,
  weights: usize,
  stride: usize,
  step: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const panel = <usize> rows << 5;
  for (let left = rows; left > 0;) {
    const height = tileHeight(left);
    const x = a + (<usize> (start * height) << 2);
    let g: i32 = 0, b = weights, s = sums, to = c;
    if (height <= 3) {
      for (; g + 3 <= groups; g += 3, b += 3 * step, s += 3 * panel, to += 3 * panel) {
        if (height == 1) threeGroups<T>(1, depth, x, b, stride, s, to, panel, step, first, last, add);
        else if (height == 2) threeGroups<T>(2, depth, x, b, stride, s, to, panel, step, first, last, add);
        else {
          const b1 = b + step, s2 = s + 2 * panel, to2 = to + 2 * panel;
          threeRows<T>(depth, x, b, b1, false, stride, s, to, 16, panel, first, last, add);
          threeRows<T>(depth, x, b1 + step, b1, true, stride, s2, to2, 16, 16 - panel, first, last, add);
        }
      }
    }
    for (; g < groups; g++, b += step, s += panel, to += panel) {
      if (height == 6) oneGroup<T>(6, depth, x, b, stride, s, to, first, last, add);
      else if (height == 5) oneGroup<T>(5, depth, x, b, stride, s, to, first, last, add);
      else if (height == 3) oneGroup<T>(3, depth, x, b, stride, s, to, first, last, add);
      else if (height == 2) oneGroup<T>(2, depth, x, b, stride, s, to, first, last, add);
      else oneGroup<T>(1, depth, x, b, stride, s, to, first, last, add);
    }
    a += <usize> (aDepth * height) << 2;
    sums += <usize> height << 5;
    c += <usize> height << 5;
    left -= height;
  }
}

// Multiplies A by the widened weights.
export function multiplyWide(
  rows: i32,
  groups: i32,
  aDepth: i32,
  a: usize,
  start: i32,
  depth: i32,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  multiplyPanels<f32>(rows, groups, aDepth, a, start, depth, wide, 32, WIDE_STEP, sums, c, first, last, add);
}

// Multiplies A by rows of bf16, which are widened in registers for each tile; the distance between rows is `stride`, and between
// groups `step`. If `stride` is an odd number of cache lines, the rows are in different sets of L1 and stay there for all tiles.
export function multiplyBrain(
  rows: i32,
  groups: i32,
  aDepth: i32,
  a: usize,
  start: i32,
  depth: i32,
  b: usize,
  stride: usize,
  step: usize,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  multiplyPanels<i16>(rows, groups, aDepth, a, start, depth, b, stride, step, sums, c, first, last, add);
}
