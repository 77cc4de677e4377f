// Products of a few rows. The weights are widened when they are multiplied, because packing them costs more than a few rows
// gain from it. The bits are those of `multiply`: each sum is a chain of fused multiply-adds over ascending k from zero, then
// one addition to the old value of C.
import { BF16, F16 } from "../codes";
import { anySpecial, gather8, highFour, lowFour } from "./element";

// Starts a chain at zero, or continues a stored chain.
// @ts-ignore: decorator
@inline
function begin(sums: usize, first: bool): v128 {
  return first ? f32x4.splat(0) : v128.load(sums);
}

// Stores a chain, or adds its sum to C.
// @ts-ignore: decorator
@inline
function end(sums: usize, c: usize, value: v128, last: bool, add: bool): void {
  if (!last) v128.store(sums, value);
  else v128.store(c, add ? f32x4.add(v128.load(c), value) : value);
}

// Multiplies the first 1, 2, 4 or 6 rows of a packed tile of A by the groups of eight weights in `depth` rows.
// @ts-ignore: decorator
@inline
function rowsTimes<T>(
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
  for (let g: i32 = 0; g < groups; g++, b += step, sums += panelStride, c += panelStride) {
    let c00 = begin(sums, first), c01 = begin(sums + 16, first);
    let c10 = c00, c11 = c00, c20 = c00, c21 = c00, c30 = c00, c31 = c00, c40 = c00, c41 = c00, c50 = c00, c51 = c00;
    if (rows > 1) c10 = begin(sums + 32, first), c11 = begin(sums + 48, first);
    if (rows > 2) {
      c20 = begin(sums + 64, first), c21 = begin(sums + 80, first);
      c30 = begin(sums + 96, first), c31 = begin(sums + 112, first);
    }
    if (rows > 4) {
      c40 = begin(sums + 128, first), c41 = begin(sums + 144, first);
      c50 = begin(sums + 160, first), c51 = begin(sums + 176, first);
    }
    let from = b;
    for (let x = a, xEnd = a + <usize> depth * 24; x < xEnd; x += 24, from += stride) {
      let low: v128, high4: v128;
      if (isFloat<T>()) {
        low = v128.load(from);
        high4 = v128.load(from + (pairs ? 16 : high));
        if (pairs) {
          const even = v128.shuffle<f32>(low, high4, 0, 2, 4, 6);
          high4 = v128.shuffle<f32>(low, high4, 1, 3, 5, 7);
          low = even;
        }
      } else {
        const bits = gather8(pairs, from, from + high);
        if (!isSigned<T>() && anySpecial(bits)) {
          low = lowFour<T>(bits, true);
          high4 = highFour<T>(bits, true);
        } else {
          low = lowFour<T>(bits, false);
          high4 = highFour<T>(bits, false);
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
        value = v128.load32_splat(x, 12);
        c30 = f32x4.relaxed_madd(value, low, c30);
        c31 = f32x4.relaxed_madd(value, high4, c31);
      }
      if (rows > 4) {
        value = v128.load32_splat(x, 16);
        c40 = f32x4.relaxed_madd(value, low, c40);
        c41 = f32x4.relaxed_madd(value, high4, c41);
        value = v128.load32_splat(x, 20);
        c50 = f32x4.relaxed_madd(value, low, c50);
        c51 = f32x4.relaxed_madd(value, high4, c51);
      }
    }
    end(sums, c, c00, last, add);
    end(sums + 16, c + 16, c01, last, add);
    if (rows > 1) {
      end(sums + 32, c + 32, c10, last, add);
      end(sums + 48, c + 48, c11, last, add);
    }
    if (rows > 2) {
      end(sums + 64, c + 64, c20, last, add);
      end(sums + 80, c + 80, c21, last, add);
      end(sums + 96, c + 96, c30, last, add);
      end(sums + 112, c + 112, c31, last, add);
    }
    if (rows > 4) {
      end(sums + 128, c + 128, c40, last, add);
      end(sums + 144, c + 144, c41, last, add);
      end(sums + 160, c + 160, c50, last, add);
      end(sums + 176, c + 176, c51, last, add);
    }
  }
}

// Multiplies tiles of A by staged rows of weights; see `widenRows` for their groups. `sums` stores the chains between calls, in
// the layout of C. `first` starts them. `last` writes them to C; with `add`, they are added to C.
// @ts-ignore: decorator
@inline
function fewRows<T>(
  pairs: bool,
  rows: i32,
  groups: i32,
  depth: i32,
  a: usize,
  tileBytes: usize,
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
  for (; rows > 0; rows -= 6, a += tileBytes, sums += 192, c += 192) {
    if (rows == 1) rowsTimes<T>(1, pairs, groups, depth, a, b, stride, step, high, sums, c, panelStride, first, last, add);
    else if (rows == 2) rowsTimes<T>(2, pairs, groups, depth, a, b, stride, step, high, sums, c, panelStride, first, last, add);
    else if (rows <= 4) rowsTimes<T>(4, pairs, groups, depth, a, b, stride, step, high, sums, c, panelStride, first, last, add);
    else rowsTimes<T>(6, pairs, groups, depth, a, b, stride, step, high, sums, c, panelStride, first, last, add);
  }
}

export function multiplyFew(
  dtype: i32,
  pairs: bool,
  rows: i32,
  groups: i32,
  depth: i32,
  a: usize,
  tileBytes: usize,
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
  if (dtype == F16) {
    if (pairs) fewRows<u16>(true, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
    else fewRows<u16>(false, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
  }
  else if (dtype == BF16) {
    if (pairs) fewRows<i16>(true, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
    else fewRows<i16>(false, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
  }
  else {
    if (pairs) fewRows<f32>(true, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
    else fewRows<f32>(false, rows, groups, depth, a, tileBytes, b, stride, step, high, sums, c, panelStride, first, last, add);
  }
}
