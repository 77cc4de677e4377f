// Decodes MXFP4, which is exact in bf16, to bf16. Compared with f32, it takes fewer instructions and half the stores.
import { F32, PACKED_E2M1 } from "../codes";
import { BRAIN_FIELDS } from "./constants";
import { BLOCK, decodeBlock, decodeEights, gather4, part } from "./packed_eights";

// The E2M1 numbers as bf16 times 2^126: the upper bytes, then the lower bytes. Zeros have no sign: a sum starts at +0, so the sign
// of a zero in it can only matter for a sum of -0, and adding the bias makes that +0.
const scaledTable: usize = memory.data<u8>([
  0x00, 0x7e, 0x7e, 0x7e, 0x7f, 0x7f, 0x7f, 0x7f, 0x00, 0xfe, 0xfe, 0xfe, 0xff, 0xff, 0xff, 0xff,
  0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0, 0x00, 0x00, 0x80, 0xc0, 0x00, 0x40, 0x80, 0xc0,
], 16);

// The bit pattern of 2^126 as bf16. This pattern minus that of a scale is the reduction of a bf16 of `scaledTable`.
const LARGEST: i16 = 0x7e80;

// Returns the reductions of the bf16 of `scaledTable` in the order of a group: lower and upper rows alternate. The mask keeps
// the scales of missing rows, which can be any bits, out of those of other rows.
// @ts-ignore: decorator
@inline
function reductionOf(scale: v128, upperScale: v128): v128 {
  return i16x8.sub(i16x8.splat(LARGEST), v128.or(i32x4.shr_u(scale, 16), v128.and(upperScale, v128.load(BRAIN_FIELDS))));
}

// Whether a scale is so small or so large that a number is subnormal or infinite.
// @ts-ignore: decorator
@inline
function isExtreme(reduction: v128): bool {
  return v128.any_true(i16x8.gt_u(i16x8.sub(reduction, i16x8.splat(0x80)), i16x8.splat(0x7d00)));
}

// Narrows the decoded block in `part` to bf16 without rounding: MXFP4 is exact in bf16.
function narrowPart(out: usize): void {
  for (let from = part, end = part + 512; from < end; from += 32, out += 16) {
    v128.store(out, v128.or(i32x4.shr_u(v128.load(from), 16), v128.and(v128.load(from, 16), v128.load(BRAIN_FIELDS))));
  }
}

// Decodes MXFP4 to bf16; see `decodeEights`. The lower and the upper four numbers of an input alternate. Writes up to 15 inputs before
// `out` and after the end of each panel.
export function decodeBrainEights(
  panels: i32,
  values: usize,
  valueStride: usize,
  valueHigh: usize,
  valueStep: usize,
  scales: usize,
  scaleStride: usize,
  scaleHigh: usize,
  scaleStep: usize,
  start: i32,
  count: i32,
  out: usize,
  outStep: usize,
): void {
  const high = v128.load(scaledTable), low = v128.load(scaledTable, 16);
  const end = start + count, first = start & -BLOCK;
  out -= <usize> (start - first) << 4;
  for (; panels > 0; panels--, values += valueStep, scales += scaleStep, out += outStep) {
    let current = -1, reduction = i32x4.splat(0), extreme = false;
    for (let block = first, to = out, from = values + (<usize> first >> 1); block < end; block += BLOCK, from += BLOCK >> 1, to += <usize> BLOCK << 4) {
      const index = block >> 5;
      if (index != current) {
        const at = scales + (<usize> index << 2);
        reduction = reductionOf(gather4(at, scaleStride), gather4(at + scaleHigh, scaleStride));
        extreme = isExtreme(reduction);
        current = index;
      }
      if (extreme) {
        decodeEights(F32, PACKED_E2M1, 1, values, valueStride, valueHigh, 0, scales, 0, scaleStride, scaleHigh, 0, block, BLOCK, 32, part, 0);
        narrowPart(to);
      } else {
        decodeBlock<u8>(from, valueStride, valueHigh, high, low, reduction, reduction, reduction, reduction, false, to);
      }
    }
  }
}
