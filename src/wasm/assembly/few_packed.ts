// Products of a few rows with packed pairs, which are decoded for a few inputs at a time. The bits are those of `multiplyFew`.
import { E8M0 } from "../codes";
import { multiplyBrain, multiplyWide, wide, WIDE_GROUPS, WIDE_ROWS, WIDE_STEP } from "./few_tiles";
import { decodeBrainEights } from "./packed_brain";
import { decodeEights } from "./packed_eights";

// The address of decoded bf16, with room for 15 inputs before them, and the distance between panels, an odd number of cache lines.
const brain: usize = wide + 256;
const BRAIN_STEP: usize = 1600;

// Multiplies tiles of A by packed pairs. The operands of the product are those of `multiplyFew`, the packed rows are those of
// `decodeEights`. Pairs with E8M0 scales are MXFP4, which is exact in bf16: half the bytes to write and fewer instructions.
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
  scaleType: i32,
  group: i32,
  sums: usize,
  c: usize,
  first: bool,
  last: bool,
  add: bool,
): void {
  const end = start + count, panel = <usize> rows << 5;
  for (let k = start, next = 0; k < end; k = next, first = false) {
    next = min((k & -WIDE_ROWS) + WIDE_ROWS, end); // groups that share a scale begin at multiples of their size
    const n = next - k, isLast = last && next == end;
    for (let g = 0; g < groups; g += WIDE_GROUPS) {
      const size = min(WIDE_GROUPS, groups - g), at = <usize> g * panel;
      const v = values + <usize> g * valueStep, s = <usize> g * scaleStep, from = scales + s;
      if (scaleType == E8M0) {
        decodeBrainEights(size, v, valueStride, valueHigh, valueStep, from, scaleStride, scaleHigh, scaleStep, k, n, brain, BRAIN_STEP);
        multiplyBrain(rows, size, depth, a, k, n, brain, 16, BRAIN_STEP, sums + at, c + at, first, isLast, add);
      } else {
        const z = zeros == 0 ? 0 : zeros + s;
        decodeEights(dtype, kind, size, v, valueStride, valueHigh, valueStep, from, z, scaleStride, scaleHigh, scaleStep, k, n, group, wide, WIDE_STEP);
        multiplyWide(rows, size, depth, a, k, n, sums + at, c + at, first, isLast, add);
      }
    }
  }
}
