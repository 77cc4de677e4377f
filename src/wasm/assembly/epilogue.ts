// The epilogue of a product: bias, activation, and one rounding to the element type.
import { activate4, activatePair4 } from "./activation";
import { BF16, F16 } from "../codes";
import { shiftOf, store4, store8 } from "./element";

// Reads `rows` rows of `groups` groups of eight sums: four at the group's address, and four `high` bytes later. The distance
// between rows is `rowStep` bytes and between groups `groupStep` bytes, so the sums can be tiles or rows of a matrix. `bias`
// has eight f32 for each group. With a gate, the lower four sums are gates and the upper four are ups, and a group has four
// results; without a gate it has eight. The results are written in rows, `stride` bytes from one to the next.
// @ts-ignore: decorator
@inline
function storeRows<T>(
  activation: i32,
  gated: bool,
  c: usize,
  rows: i32,
  groups: i32,
  rowStep: usize,
  groupStep: usize,
  high: usize,
  bias: usize,
  alpha: f32,
  limit: f32,
  out: usize,
  stride: usize,
): void {
  const groupBytes = <usize> (gated ? 4 : 8) << shiftOf<T>();
  for (let g: i32 = 0; g < groups; g++, c += groupStep, bias += 32, out += groupBytes) {
    const bias0 = v128.load(bias);
    const bias1 = v128.load(bias, 16);
    for (let r: i32 = 0, from = c, to = out; r < rows; r++, from += rowStep, to += stride) {
      const first = f32x4.add(v128.load(from), bias0);
      const second = f32x4.add(v128.load(from + high), bias1);
      if (gated) {
        store4<T>(to, activatePair4(activation, first, second, f32x4.splat(alpha), f32x4.splat(limit)));
      } else {
        store8<T>(to, activate4(activation, first), activate4(activation, second));
      }
    }
  }
}

export function store(
  dtype: i32,
  activation: i32,
  gated: bool,
  c: usize,
  rows: i32,
  groups: i32,
  rowStep: usize,
  groupStep: usize,
  high: usize,
  bias: usize,
  alpha: f32,
  limit: f32,
  out: usize,
  stride: usize,
): void {
  if (dtype == F16) {
    storeRows<u16>(activation, gated, c, rows, groups, rowStep, groupStep, high, bias, alpha, limit, out, stride);
  } else if (dtype == BF16) {
    storeRows<i16>(activation, gated, c, rows, groups, rowStep, groupStep, high, bias, alpha, limit, out, stride);
  } else {
    storeRows<f32>(activation, gated, c, rows, groups, rowStep, groupStep, high, bias, alpha, limit, out, stride);
  }
}
