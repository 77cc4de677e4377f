import type { Context } from "../context.ts";
import type { Block, PackedWeights, Product } from "./product.ts";

/** Addresses in the memory of a context, or numbers of bytes. */
export interface PackedAreas {
  /** The numbers of the staged rows. */
  readonly values: number;
  /** Their scales, f32. */
  readonly scales: number;
  /** Their zero points, f32. */
  readonly zeros: number;
  /** Scales or zero points before they are converted. */
  readonly raw: number;
}

/** The addresses and the strides that the kernel `decodeEights` takes. */
export type PairsOfGroups = readonly [
  values: number,
  valueStride: number,
  valueHigh: number,
  valueStep: number,
  scales: number,
  zeros: number,
  scaleStride: number,
  scaleHigh: number,
  scaleStep: number,
];

/** Rows of packed weights of a block: B is transposed, and a column of C has one row, or with a gate two. */
export interface PackedRowsOfBlock {
  /** Whether the numbers have four bits. */
  readonly isPairs: boolean;
  /** Computes the bytes of the areas for the rows of some columns of C. */
  areas(columns: number): PackedAreas;
  /** Copies the rows of some columns of C. */
  stage(at: PackedAreas, first: number, columns: number): void;
  /**
   * Decodes a range of the depth of the rows of some staged columns to f32. With a gate, the rows of the up projection follow
   * `room` rows later. Decodes up to 15 numbers more at each end, and clears what is beyond the depth.
   *
   * @returns The address of the range in the first row.
   */
  decode(
    first: number,
    columns: number,
    room: number,
    start: number,
    count: number,
    to: number,
    stride: number,
  ): number;
  /** Returns the addresses and the strides of groups of eight sums for the kernels that read pairs. */
  groupsAt(first: number): PairsOfGroups;
}

/** Describes the packed weights of a block. */
export function packedRows(context: Context, product: Product, packed: PackedWeights, block: Block): PackedRowsOfBlock {
  const { kernels } = context;
  const { width: outWidth, isGated: gated, depth } = product;
  const { kind, dtype, values, valueBytes, scales, scaleType, zeroPoints, globalScales, group, band, u8 } = packed;
  const { matrix, column } = block;
  const pairs = gated && product.isInterleaved;
  const width = gated ? 2 * outWidth : outWidth;
  const groups = Math.ceil(depth / group), scaleStride = groups * 4;
  const bands = Math.ceil(width / band);
  const globals = globalScales ? globalScales.length / packed.matrices : 0;
  const unit = packed.isPairs ? 16 : 1;
  let at: PackedAreas, firstStaged = 0, columnsStaged = 0;

  /** The rows of some columns, as ranges: first row, rows. */
  const rangesOf = (first: number, columns: number) => {
    const row = column + first;
    return !gated ? [[row, columns]] : pairs ? [[2 * row, 2 * columns]] : [[row, columns], [outWidth + row, columns]];
  };

  /** Converts `count` of some scales or zero points from the element `from` on. */
  const widen = (source: typeof scales, type: number, from: number, count: number, factor: number, to: number) => {
    const size = source.BYTES_PER_ELEMENT;
    const view = size === 1 ? context.u8 : size === 2 ? context.u16 : context.f32;
    view.set(source.subarray(from, from + count), at.raw / size);
    kernels.widenScales(type, at.raw, count, factor, to);
  };

  const stageRange = (row: number, rows: number, staged: number) => {
    const first = matrix * width + row;
    context.stage(values, first * valueBytes, rows * valueBytes, at.values + staged * valueBytes);
    const to = at.scales + staged * scaleStride;
    if (band === 1 && globals === 0) widen(scales, scaleType, first * groups, rows * groups, 1, to);
    else {
      for (let r = 0; r < rows; r++) {
        const from = (matrix * bands + Math.floor((row + r) / band)) * groups;
        const factor = globalScales ? globalScales[matrix * globals + Math.floor((row + r) * globals / width)]! : 1;
        widen(scales, scaleType, from, groups, factor, to + r * scaleStride);
      }
    }
    if (zeroPoints) widen(zeroPoints, u8, first * groups, rows * groups, 1, at.zeros + staged * scaleStride);
  };

  return {
    isPairs: packed.isPairs,
    areas(columns) {
      const rows = gated ? 2 * Math.ceil(columns / 4) * 4 : Math.ceil(columns / 8) * 8;
      return {
        values: rows * valueBytes + 64,
        scales: rows * scaleStride,
        zeros: zeroPoints ? rows * scaleStride : 0,
        raw: rows * scaleStride,
      };
    },
    stage(areas, first, columns) {
      [at, firstStaged, columnsStaged] = [areas, first, columns];
      let staged = 0;
      for (const [row, rows] of rangesOf(first, columns)) {
        stageRange(row!, rows!, staged);
        staged += rows!;
      }
    },
    decode(first, columns, room, start, count, to, stride) {
      const from = start - start % unit, end = start + count;
      const decoded = Math.min(depth, Math.ceil(end / unit) * unit);
      const step = pairs ? 2 : 1, index = first - firstStaged;
      for (let part = 0; part < (gated ? 2 : 1); part++) {
        const row = pairs ? 2 * index + part : part * columnsStaged + index;
        const out = to + part * room * stride;
        kernels.decodeRows(
          dtype,
          kind,
          columns,
          at.values + row * valueBytes,
          step * valueBytes,
          at.scales + row * scaleStride,
          zeroPoints ? at.zeros + row * scaleStride : 0,
          step * scaleStride,
          from,
          decoded - from,
          group,
          out,
          stride,
        );
        for (let r = 0; decoded < end && r < columns; r++) {
          const line = (out + r * stride) / 4 - from;
          context.f32.fill(0, line + decoded, line + end);
        }
      }
      return to + (start - from) * 4;
    },
    groupsAt(first) {
      const index = first - firstStaged, row = pairs ? 2 * index : index;
      const stride = pairs ? 2 : 1, high = !gated ? 4 : pairs ? 1 : columnsStaged, step = gated && !pairs ? 4 : 8;
      return [
        at.values + row * valueBytes,
        stride * valueBytes,
        high * valueBytes,
        step * valueBytes,
        at.scales + row * scaleStride,
        zeroPoints ? at.zeros + row * scaleStride : 0,
        stride * scaleStride,
        high * scaleStride,
        step * scaleStride,
      ];
    },
  };
}
