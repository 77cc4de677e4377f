// Products of a few rows with packed pairs. Sixteen inputs of eight rows are decoded and multiplied at once, so that the processor
// decodes during the multiply-adds. The bits are those of `multiplyFew`.
import { BF16, F16 } from "../codes";
import { multiplyWide, wide, WIDE_ROWS, WIDE_STEP } from "./few_tiles";
import { BLOCK, decodeBlock, gather4 } from "./packed_eights";
import { tables } from "./packed";

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
  const end = start + count;
  const none = i32x4.splat(0);
  for (let k = start; k < end; first = false) {
    const chunk = min((k & -WIDE_ROWS) + WIDE_ROWS, end) - k;
    let out = wide;
    for (let left = chunk; left > 0;) {
      const block = k & -BLOCK;
      const n = min(block + BLOCK - k, left);
      const own = <usize> (block / group) << 2;
      let from = values + (<usize> block >> 1), scale = scales + own, zero = zeros + own, to = out;
      for (let g: i32 = 0; g < groups; g++, from += valueStep, scale += scaleStep, zero += scaleStep, to += WIDE_STEP) {
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
          to,
          32,
        );
      }
      out += <usize> n << 5;
      left -= n;
      k += n;
    }
    multiplyWide(rows, groups, depth, a, k - chunk, chunk, sums, c, first, last && k == end, add);
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
