// Products of a few rows with packed pairs. Sixteen inputs of eight rows are decoded and multiplied at once, so that the processor
// decodes during the multiply-adds. The bits are those of `multiplyFew`.
import { BF16, F16 } from "../codes";
import { tile, tileHeight } from "./few";
import { BLOCK, decodeBlock, gather4 } from "./packed_eights";
import { tables } from "./packed";

// The decoded weights of a block: [16][8] f32.
const decoded: usize = memory.data(512, 16);

// @ts-ignore: decorator
@inline
function fewPairs<T>(
  hasZeros: bool,
  kind: i32,
  rows: i32,
  groups: i32,
  depth: i32,
  a: usize,
  start: i32,
  count: i32,
  values: usize,
  valueStride: usize,
  valueHigh: usize,
  valueStep: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  scaleHigh: usize,
  scaleStep: usize,
  group: i32,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const table = tables + (<usize> kind << 5);
  const high = v128.load(table), low = v128.load(table, 16);
  const panel = <usize> rows << 5;
  const end = start + count;
  for (let k = start; k < end; first = false) {
    const block = k & -BLOCK;
    const n = min(block + BLOCK - k, end - k);
    const isLast = last && k + n == end;
    const own = <usize> (block / group) << 2;
    let from = values + (<usize> block >> 1), scale = scales + own, zero = zeros + own;
    let groupSums = sums, groupC = c;
    for (let g: i32 = 0; g < groups; g++) {
      const none = i32x4.splat(0);
      decodeBlock<T>(
        from,
        valueStride,
        valueHigh,
        high,
        low,
        hasZeros ? gather4(zero, scaleStride) : none,
        hasZeros ? gather4(zero + scaleHigh, scaleStride) : none,
        gather4(scale, scaleStride),
        gather4(scale + scaleHigh, scaleStride),
        hasZeros,
        k - block,
        n,
        decoded,
        32,
      );
      let s = groupSums, to = groupC, tiles = a;
      for (let left = rows; left > 0;) {
        const height = tileHeight(left);
        const x = tiles + (<usize> k * height << 2);
        if (height == 1) tile<f32>(1, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        else if (height == 2) tile<f32>(2, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        else if (height == 3) tile<f32>(3, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        else if (height == 4) tile<f32>(4, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        else if (height == 5) tile<f32>(5, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        else tile<f32>(6, false, 1, n, x, decoded, 32, 32, 16, s, to, panel, first, isLast, add);
        tiles += <usize> (depth * height) << 2;
        s += <usize> height << 5;
        to += <usize> height << 5;
        left -= height;
      }
      from += valueStep;
      scale += scaleStep;
      zero += scaleStep;
      groupSums += panel;
      groupC += panel;
    }
    k += n;
  }
}

// Multiplies tiles of A by packed pairs. The operands of the product are those of `multiplyFew`, the packed rows are those of
// `decodeEights`.
export function multiplyFewPairs(
  dtype: i32,
  kind: i32,
  rows: i32,
  groups: i32,
  depth: i32,
  a: usize,
  start: i32,
  count: i32,
  values: usize,
  valueStride: usize,
  valueHigh: usize,
  valueStep: usize,
  scales: usize,
  zeros: usize,
  scaleStride: usize,
  scaleHigh: usize,
  scaleStep: usize,
  group: i32,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  if (zeros != 0) {
    if (dtype == F16) fewPairs<u16>(true, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
    else if (dtype == BF16) fewPairs<i16>(true, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
    else fewPairs<f32>(true, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
  } else {
    if (dtype == F16) fewPairs<u16>(false, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
    else if (dtype == BF16) fewPairs<i16>(false, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
    else fewPairs<f32>(false, kind, rows, groups, depth, a, start, count, values, valueStride, valueHigh, valueStep, scales, zeros, scaleStride, scaleHigh, scaleStep, group, sums, c, first, last, add);
  }
}
