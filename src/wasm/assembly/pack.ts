// Packs the operands of the products and widens them to f32. The sources are staged copies with room for whole groups after the
// last row. Values beyond the end of a row or after the last row affect only results that are not used. Values beyond the end
// of the depth must be zeros.
import { BF16, F16, F32 } from "../codes";
import { load4, shiftOf, widenHalves, widenPairs } from "./element";

// Widens rows of groups of eight elements: four at the group's address, and four `sourceHigh` bytes later. With `pairs`, a
// group is eight consecutive elements: the even ones are the first four. The distance between groups is `sourceStep` bytes. The
// result has the same groups, with a layout of its own.
// @ts-ignore: decorator
@inline
function widenRows<T>(
  pairs: bool,
  source: usize,
  stride: usize,
  rows: i32,
  groups: i32,
  sourceStep: usize,
  sourceHigh: usize,
  out: usize,
  rowStep: usize,
  groupStep: usize,
  high: usize,
): void {
  for (let r: i32 = 0; r < rows; r++, source += stride, out += rowStep) {
    let from = source, to = out;
    if (pairs) {
      for (let g: i32 = 0; g < groups; g++, from += sourceStep, to += groupStep) widenPairs<T>(from, to, to + high);
    } else {
      for (let g: i32 = 0; g < groups; g++, from += sourceStep, to += groupStep) {
        widenHalves<T>(from, from + sourceHigh, to, to + high);
      }
    }
  }
}

export function widen(
  dtype: i32,
  pairs: bool,
  source: usize,
  stride: usize,
  rows: i32,
  groups: i32,
  sourceStep: usize,
  sourceHigh: usize,
  out: usize,
  rowStep: usize,
  groupStep: usize,
  high: usize,
): void {
  if (dtype == F16) {
    widenRows<u16>(pairs, source, stride, rows, groups, sourceStep, sourceHigh, out, rowStep, groupStep, high);
  } else if (dtype == BF16) {
    widenRows<i16>(pairs, source, stride, rows, groups, sourceStep, sourceHigh, out, rowStep, groupStep, high);
  } else {
    widenRows<f32>(pairs, source, stride, rows, groups, sourceStep, sourceHigh, out, rowStep, groupStep, high);
  }
}

// Packs `tiles` * 6 rows of `depth` elements into tiles of [depth][6] f32. `depth` is a multiple of 4; `stride` is the distance
// between rows in bytes.
// @ts-ignore: decorator
@inline
function packSixes<T>(source: usize, stride: usize, depth: i32, tiles: i32, out: usize): void {
  const step: usize = 4 << shiftOf<T>();
  for (let tile: i32 = 0; tile < tiles; tile++, source += 6 * stride) {
    for (let from = source, end = source + (<usize> depth << shiftOf<T>()); from < end; from += step, out += 96) {
      const r0 = load4<T>(from);
      const r1 = load4<T>(from + stride);
      const r2 = load4<T>(from + 2 * stride);
      const r3 = load4<T>(from + 3 * stride);
      const r4 = load4<T>(from + 4 * stride);
      const r5 = load4<T>(from + 5 * stride);
      const a01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5); // rows 0, 1 at k, then at k + 1
      const b01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7); // at k + 2, then at k + 3
      const a23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
      const b23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
      const a45 = v128.shuffle<i32>(r4, r5, 0, 4, 1, 5);
      const b45 = v128.shuffle<i32>(r4, r5, 2, 6, 3, 7);
      v128.store(out, v128.shuffle<i64>(a01, a23, 0, 2));
      v128.store64_lane(out, a45, 0, 16);
      v128.store(out, v128.shuffle<i64>(a01, a23, 1, 3), 24);
      v128.store64_lane(out, a45, 1, 40);
      v128.store(out, v128.shuffle<i64>(b01, b23, 0, 2), 48);
      v128.store64_lane(out, b45, 0, 64);
      v128.store(out, v128.shuffle<i64>(b01, b23, 1, 3), 72);
      v128.store64_lane(out, b45, 1, 88);
    }
  }
}

export function packSix(dtype: i32, source: usize, stride: usize, depth: i32, tiles: i32, out: usize): void {
  if (dtype == F16) packSixes<u16>(source, stride, depth, tiles, out);
  else if (dtype == BF16) packSixes<i16>(source, stride, depth, tiles, out);
  else packSixes<f32>(source, stride, depth, tiles, out);
}

// Transposes four rows of four words.
// @ts-ignore: decorator
@inline
function transposeWords(r0: v128, r1: v128, r2: v128, r3: v128, out: usize, outStride: usize): void {
  const a01 = v128.shuffle<i32>(r0, r1, 0, 4, 1, 5);
  const b01 = v128.shuffle<i32>(r0, r1, 2, 6, 3, 7);
  const a23 = v128.shuffle<i32>(r2, r3, 0, 4, 1, 5);
  const b23 = v128.shuffle<i32>(r2, r3, 2, 6, 3, 7);
  v128.store(out, v128.shuffle<i64>(a01, a23, 0, 2));
  v128.store(out + outStride, v128.shuffle<i64>(a01, a23, 1, 3));
  v128.store(out + 2 * outStride, v128.shuffle<i64>(b01, b23, 0, 2));
  v128.store(out + 3 * outStride, v128.shuffle<i64>(b01, b23, 1, 3));
}

// Widens and transposes four rows of four elements.
// @ts-ignore: decorator
@inline
function transposeFour<T>(from: usize, stride: usize, out: usize, outStride: usize): void {
  transposeWords(
    load4<T>(from),
    load4<T>(from + stride),
    load4<T>(from + 2 * stride),
    load4<T>(from + 3 * stride),
    out,
    outStride,
  );
}

// Packs `panels` * 8 rows of `depth` elements into panels of [depth][8] f32. `depth` is a multiple of 4; `stride` is the
// distance between rows in bytes.
// @ts-ignore: decorator
@inline
function packEights<T>(source: usize, stride: usize, depth: i32, panels: i32, out: usize): void {
  const step: usize = 4 << shiftOf<T>();
  for (let panel: i32 = 0; panel < panels; panel++, source += 8 * stride) {
    for (let from = source, end = source + (<usize> depth << shiftOf<T>()); from < end; from += step, out += 128) {
      transposeFour<T>(from, stride, out, 32);
      transposeFour<T>(from + 4 * stride, stride, out + 16, 32);
    }
  }
}

export function packEight(dtype: i32, source: usize, stride: usize, depth: i32, panels: i32, out: usize): void {
  if (dtype == F16) packEights<u16>(source, stride, depth, panels, out);
  else if (dtype == BF16) packEights<i16>(source, stride, depth, panels, out);
  else packEights<f32>(source, stride, depth, panels, out);
}

// Transposes a block of eight rows of eight 16-bit elements.
// @ts-ignore: decorator
@inline
function transposeHalves(low: usize, high: usize, stride: usize, out: usize, outStride: usize): void {
  const l0 = v128.load(low), h0 = v128.load(high);
  const l1 = v128.load(low + stride), h1 = v128.load(high + stride);
  const l2 = v128.load(low + 2 * stride), h2 = v128.load(high + 2 * stride);
  const l3 = v128.load(low + 3 * stride), h3 = v128.load(high + 3 * stride);
  const a0 = v128.shuffle<i16>(l0, h0, 0, 8, 1, 9, 2, 10, 3, 11);
  const a1 = v128.shuffle<i16>(l1, h1, 0, 8, 1, 9, 2, 10, 3, 11);
  const a2 = v128.shuffle<i16>(l2, h2, 0, 8, 1, 9, 2, 10, 3, 11);
  const a3 = v128.shuffle<i16>(l3, h3, 0, 8, 1, 9, 2, 10, 3, 11);
  transposeWords(a0, a1, a2, a3, out, outStride);
  const b0 = v128.shuffle<i16>(l0, h0, 4, 12, 5, 13, 6, 14, 7, 15);
  const b1 = v128.shuffle<i16>(l1, h1, 4, 12, 5, 13, 6, 14, 7, 15);
  const b2 = v128.shuffle<i16>(l2, h2, 4, 12, 5, 13, 6, 14, 7, 15);
  const b3 = v128.shuffle<i16>(l3, h3, 4, 12, 5, 13, 6, 14, 7, 15);
  transposeWords(b0, b1, b2, b3, out + 4 * outStride, outStride);
}

// Transposes blocks of eight rows into rows of groups of eight elements, without widening them. A block has four lower rows at its
// address and four upper rows `high` bytes later; `stride` is the distance between rows, `step` between blocks. In a group of f32, the
// lower elements come first. In a group of 16-bit elements, lower and upper elements alternate.
export function transpose(
  dtype: i32,
  source: usize,
  stride: usize,
  high: usize,
  step: usize,
  depth: i32,
  blocks: i32,
  out: usize,
): void {
  const groupBytes: usize = dtype == F32 ? 32 : 16;
  const outStride = <usize> blocks * groupBytes;
  for (let block: i32 = 0; block < blocks; block++, source += step, out += groupBytes) {
    if (dtype == F32) {
      for (let k: i32 = 0, from = source, to = out; k < depth; k += 4, from += 16, to += 4 * outStride) {
        transposeFour<f32>(from, stride, to, outStride);
        transposeFour<f32>(from + high, stride, to + 16, outStride);
      }
    } else {
      for (let k: i32 = 0, from = source, to = out; k < depth; k += 8, from += 16, to += 8 * outStride) {
        transposeHalves(from, from + high, stride, to, outStride);
      }
    }
  }
}

// Copies rows of `bytes` bytes that follow each other, `stride` bytes from one copy to the next.
export function spread(from: usize, rows: i32, bytes: usize, out: usize, stride: usize): void {
  for (; rows > 0; rows--, from += bytes, out += stride) memory.copy(out, from, bytes);
}
