import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";
import type { Block, Product } from "./product.ts";

/** The sizes of a block's operands, and the functions that copy between tensors and the memory of a context. */
export interface Operands {
  /** Bytes of an element of A, of B and of C. */
  readonly aSize: number;
  readonly size: number;
  readonly outSize: number;
  /** Whether the gate's and the up projection's columns alternate in B. */
  readonly pairs: boolean;
  /** Whether the gate's columns are the first half of B, and the up projection's the second. */
  readonly isSplit: boolean;
  /** Groups of eight sums: eight columns of C, or with a gate four gate columns and their four up columns. */
  readonly groups: number;
  /** Columns of C in a group. */
  readonly groupColumns: number;
  /** Bytes from one group to the next in staged columns, and from its lower four to its upper four. */
  readonly groupStep: number;
  readonly groupHigh: number;
  /** Bytes of a staged row of columns. */
  readonly columnBytes: number;
  /** Copies rows of A to `at`, `stride` bytes from one to the next. */
  stageRows(at: number, first: number, count: number, stride: number): void;
  /** Copies the block's columns of some rows of B that is not transposed, `stride` bytes from one row to the next. */
  stageColumns(at: number, first: number, count: number, stride?: number): void;
  /** Copies part of a row of B that is transposed: the weights of a column of C, or of its up projection. */
  stageWeights(at: number, result: number, isUp: boolean, start: number, count: number): void;
  /**
   * Copies whole rows of B that is transposed: the weights of `count` columns of C. With split gate/up, the rows of the up
   * projection follow `room` rows later.
   */
  stageLines(at: number, result: number, count: number, room: number): void;
  /** Widens the bias of the block's columns to groups of 32 bytes. Writes zeros if the product has no bias. */
  widenBias(staging: number, to: number): void;
  /** Applies scale, bias and activation to the sums of some rows, and writes C. `staging` has room for these rows. */
  finish(sums: Sums, first: number, count: number, bias: number, staging: number): void;
}

/** The layout of a block's sums: see the kernel `store`. */
export interface Sums {
  readonly at: number;
  readonly rowStep: number;
  readonly groupStep: number;
  readonly high: number;
}

/** Describes the operands of a block, for either way to multiply. */
export function operands(context: Context, product: Product, block: Block): Operands {
  const { depth, width: outWidth, a, b, bias, out, isGated: gated } = product;
  const { matrix, row, column, columns } = block;
  const pairs = gated && product.isInterleaved;
  const isSplit = gated && !product.isInterleaved;
  const width = gated ? 2 * outWidth : outWidth;
  const aSize = a.BYTES_PER_ELEMENT, size = b.BYTES_PER_ELEMENT, outSize = out.BYTES_PER_ELEMENT;
  const groupColumns = gated ? 4 : 8;
  const groups = Math.ceil(columns / groupColumns);
  const paddedColumns = groups * groupColumns;
  const view = (size: number): Elements => size === 2 ? context.u16 : context.f32; // the memory may have grown

  const stage = (at: number, source: Elements, from: number, count: number) => context.stage(source, from, count, at);

  const stageRow = (at: number, source: Elements, from: number) => {
    if (!gated) stage(at, source, from + column, columns);
    else if (pairs) stage(at, source, from + 2 * column, 2 * columns);
    else {
      stage(at, source, from + column, columns);
      stage(at + paddedColumns * source.BYTES_PER_ELEMENT, source, from + outWidth + column, columns);
    }
  };

  /** Multiplies the sums of a row. */
  const scaleSums = ({ at, rowStep, groupStep, high }: Sums, r: number, scale: number) => {
    for (let g = 0; g < groups; g++) {
      const low = (at + r * rowStep + g * groupStep) / 4;
      for (let i = 0; i < 4; i++) {
        context.f32[low + i]! *= scale;
        context.f32[low + high / 4 + i]! *= scale;
      }
    }
  };

  /** Reads from each cache line that contains the block's columns of a row. */
  const touchRow = (source: Elements, from: number) => {
    const line = 64 / size;
    const end = from + (pairs ? 2 : 1) * (column + columns);
    let sum = 0;
    for (let i = from + (pairs ? 2 : 1) * column; i < end; i += line) sum += source[i]!;
    if (isSplit) { for (let i = from + outWidth + column; i < end + outWidth; i += line) sum += source[i]!; }
    return sum;
  };

  const columnBytes = groups * 8 * size;
  const stepOf = (size: number) => (isSplit ? 4 : 8) * size;
  const highOf = (size: number) => (isSplit ? paddedColumns : 4) * size;
  return {
    aSize,
    size,
    outSize,
    pairs,
    isSplit,
    groups,
    groupColumns,
    groupStep: stepOf(size),
    groupHigh: highOf(size),
    columnBytes,
    stageRows(at, first, count, stride) {
      const { rowsOfA } = product;
      for (let r = row + first; r < row + first + count; r++, at += stride) {
        stage(at, a, (rowsOfA ? rowsOfA[r]! : r) * depth, depth);
      }
    },
    stageColumns(at, first, count, stride = columnBytes) {
      // Whole rows are contiguous: they are read at three times the rate of parts of rows.
      if (columns === outWidth && columnBytes === width * size) {
        return context.stageRows(b, (matrix * depth + first) * width, count, width, at, stride);
      }
      const last = (matrix * depth + first + count - 1) * width;
      for (let row = last - (count - 1) * width; row <= last; row += width, at += stride) {
        // Fetches the next row during this copy: the processor cannot predict the jump to it. The stored sum only keeps the
        // reads from being optimized away; the copy overwrites it.
        if (row < last) view(size)[at / size] = touchRow(b, row + width);
        stageRow(at, b, row);
      }
    },
    stageWeights(at, result, isUp, start, count) {
      const index = column + result;
      const line = !gated ? index : pairs ? 2 * index + Number(isUp) : isUp ? outWidth + index : index;
      stage(at, b, (matrix * width + line) * depth + start, count);
    },
    stageLines(at, result, count, room) {
      const perColumn = pairs ? 2 : 1;
      const line = matrix * width + perColumn * (column + result);
      stage(at, b, line * depth, perColumn * count * depth);
      if (isSplit) stage(at + room * depth * size, b, (line + outWidth) * depth, count * depth);
    },
    widenBias(staging, to) {
      if (!bias) return void context.f32.fill(0, to / 4, to / 4 + groups * 8);
      const size = bias.BYTES_PER_ELEMENT, dtype = product.dtypes.bias;
      stageRow(staging, bias, matrix * width);
      context.kernels.widen(dtype, pairs, staging, 0, 1, groups, stepOf(size), highOf(size), to, 0, 32, 16);
    },
    finish(sums, first, count, bias, staging) {
      const { at, rowStep, groupStep, high } = sums;
      const { rowScales, dtypes, activation, alpha, limit } = product;
      if (rowScales) {
        for (let r = first; r < first + count; r++) scaleSums(sums, r, rowScales[row + r]!);
      }
      const stride = paddedColumns * outSize;
      context.kernels.store(
        dtypes.out,
        activation,
        gated,
        at + first * rowStep,
        count,
        groups,
        rowStep,
        groupStep,
        high,
        bias,
        alpha,
        limit,
        staging,
        stride,
      );
      const staged = view(outSize);
      for (let r = 0; r < count; r++) {
        const from = (staging + r * stride) / outSize;
        out.set(staged.subarray(from, from + columns), (row + first + r) * outWidth + column);
      }
    },
  };
}
