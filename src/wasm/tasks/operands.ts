import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";
import type { ExpertsJob } from "./experts_job.ts";

/** One block of one expert's product: some rows, sorted by expert, and some columns of its results. */
export interface Block {
  /** Whether it is the first product, whose results are activations, or the second. */
  readonly isGateUp: boolean;
  readonly expert: number;
  readonly row: number;
  readonly rows: number;
  readonly column: number;
  readonly columns: number;
}

/** What a block's product reads and writes, and the ways between the job's tensors and a context's memory. */
export interface Operands {
  /** The length of the sums. */
  readonly depth: number;
  /** Bytes of an element of A, of B and of the results. */
  readonly aSize: number;
  readonly size: number;
  readonly outSize: number;
  /** Whether each result is of two sums, a gate's and an up projection's. */
  readonly gated: boolean;
  /** Whether those two stand side by side in the weights. */
  readonly pairs: boolean;
  /** Groups of eight sums: eight results, or with a gate four gates and their four ups. */
  readonly groups: number;
  /** Results of a group. */
  readonly groupColumns: number;
  /** Bytes from one group to the next in staged columns, and from its lower four to its upper four. */
  readonly groupStep: number;
  readonly groupHigh: number;
  /** Bytes of a staged row of columns. */
  readonly columnBytes: number;
  /** Copies rows of A to `at`, `stride` bytes apart. */
  stageRows(at: number, first: number, count: number, stride: number): void;
  /** Copies, from rows of B in the layout "in-out", the block's columns; the rows lie `columnBytes` apart. */
  stageColumns(at: number, first: number, count: number): void;
  /** Copies, of B in the layout "out-in", part of the row that gives a sum: that of a result, or of its up projection. */
  stageWeights(at: number, result: number, isUp: boolean, start: number, count: number): void;
  /** Copies the bias of the block's columns, as if it were a row of B. Zeros where there is none. */
  stageBias(at: number): void;
  /** Takes the sums of some rows through scale, bias and activation, with room for them at `staging`, to where they go. */
  finish(sums: Sums, first: number, count: number, bias: number, staging: number): void;
}

/** Where the sums of a row of the block lie: see the kernel `store`. */
export interface Sums {
  readonly at: number;
  readonly rowStep: number;
  readonly groupStep: number;
  readonly high: number;
}

/** What a block's product has to do with the job's tensors, whichever way it is computed. */
export function operands(context: Context, job: ExpertsJob, block: Block): Operands {
  const { isGateUp, expert, row, column, columns } = block;
  const { hidden, intermediate } = job;
  const depth = isGateUp ? hidden : intermediate;
  const outWidth = isGateUp ? intermediate : hidden;
  const gated = isGateUp && job.gated;
  const pairs = gated && job.interleaved;
  const width = gated ? 2 * outWidth : outWidth;
  const a = isGateUp ? job.hiddenStates : job.activations;
  const b = isGateUp ? job.gateUpProj : job.downProj;
  const bias = isGateUp ? job.gateUpProjBias : job.downProjBias;
  const out = isGateUp ? job.activations : job.expertOutputs;
  const aSize = a.BYTES_PER_ELEMENT, size = b.BYTES_PER_ELEMENT, outSize = out.BYTES_PER_ELEMENT;
  const groupColumns = gated ? 4 : 8;
  const groups = Math.ceil(columns / groupColumns);
  const paddedColumns = groups * groupColumns;
  const view = (size: number): Elements => size === 2 ? context.u16 : context.f32; // the memory may have grown

  const stage = (at: number, source: Elements, from: number, count: number) => {
    const size = source.BYTES_PER_ELEMENT;
    view(size).set(source.subarray(from, from + count), at / size);
  };

  const stageRow = (at: number, source: Elements, from: number) => {
    if (!gated) stage(at, source, from + column, columns);
    else if (pairs) stage(at, source, from + 2 * column, 2 * columns);
    else {
      stage(at, source, from + column, columns);
      stage(at + paddedColumns * size, source, from + outWidth + column, columns);
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

  /** Reads from each line of the caches that the block's columns of a row lie in. */
  const touchRow = (source: Elements, from: number) => {
    const line = 64 / size;
    const end = from + (pairs ? 2 : 1) * (column + columns);
    let sum = 0;
    for (let i = from + (pairs ? 2 : 1) * column; i < end; i += line) sum += source[i]!;
    if (gated && !pairs) { for (let i = from + outWidth + column; i < end + outWidth; i += line) sum += source[i]!; }
    return sum;
  };

  const columnBytes = groups * 8 * size;
  return {
    depth,
    aSize,
    size,
    outSize,
    gated,
    pairs,
    groups,
    groupColumns,
    groupStep: (gated && !pairs ? 4 : 8) * size,
    groupHigh: (gated && !pairs ? paddedColumns : 4) * size,
    columnBytes,
    stageRows(at, first, count, stride) {
      for (let r = first; r < first + count; r++, at += stride) {
        stage(at, a, (isGateUp ? job.tokens[row + r]! : row + r) * depth, depth);
      }
    },
    stageColumns(at, first, count) {
      // Whole rows lie one after the other, and are read at three times the rate of parts of rows.
      if (columns === outWidth && columnBytes === width * size) {
        return stage(at, b, (expert * depth + first) * width, count * width);
      }
      const last = (expert * depth + first + count - 1) * width;
      for (let row = last - (count - 1) * width; row <= last; row += width, at += columnBytes) {
        // The next one is on its way meanwhile: the processor foresees no jump to it. What is read is overwritten at once.
        if (row < last) view(size)[at / size] = touchRow(b, row + width);
        stageRow(at, b, row);
      }
    },
    stageWeights(at, result, isUp, start, count) {
      const index = column + result;
      const line = !gated ? index : pairs ? 2 * index + Number(isUp) : isUp ? outWidth + index : index;
      stage(at, b, (expert * width + line) * depth + start, count);
    },
    stageBias(at) {
      if (bias) stageRow(at, bias, expert * width);
      else view(size).fill(0, at / size, (at + columnBytes) / size);
    },
    finish(sums, first, count, bias, staging) {
      const { at, rowStep, groupStep, high } = sums;
      const { alpha, limit, rowScales } = job;
      if (isGateUp && rowScales) {
        for (let r = first; r < first + count; r++) scaleSums(sums, r, rowScales[row + r]!);
      }
      const activation = isGateUp ? job.activation : 0;
      const stride = paddedColumns * outSize;
      context.kernels.store(
        job.outputDtype,
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
