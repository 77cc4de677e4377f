import type { Context } from "../context.ts";
import type { Elements } from "../elements.ts";
import type { Parts } from "./parts.ts";
import type { PackedRows, Product } from "./product.ts";

/** The job of {@linkcode experts}. T tokens, H hidden size, K experts for each token; N kept assignments, sorted by expert. */
export interface ExpertsJob {
  /** The products of all experts. The gate-up product writes the rows that the down product reads. */
  readonly gateUp: Product;
  readonly down: Product;
  readonly combine: Combine;
  /** The work, six numbers for each item: kind, expert, first row, rows, first column, columns. */
  readonly items: Int32Array;
  /**
   * The next item, then the number of finished items of each wait group: one group for each expert's gate-up items, and
   * one for all down items. A next item beyond the last one cancels the rest of the work.
   */
  readonly progress: Int32Array;
  /** The number of items of each wait group. */
  readonly groupSizes: Int32Array;
}

/** The weighted sums of the experts' outputs. */
export interface Combine {
  readonly hidden: number;
  readonly topK: number;
  /** The code of the element type. */
  readonly dtype: number;
  /** [N, H]: the experts' outputs. */
  readonly expertOutputs: Elements;
  /** [T, K]: the row of each assignment in `expertOutputs`, -1 if it was dropped. */
  readonly rows: Int32Array;
  /** [T, K]: the weight of each assignment. */
  readonly weights: Float32Array;
  /** [T, H]: added to the sum of the experts' outputs. */
  readonly addend: Elements | undefined;
  /** [T]: a factor for each row of `addend`. Without it, 1. */
  readonly addendWeights: Float32Array | undefined;
  /** [T, H]. The elements from `dirty` on are zeros. */
  readonly output: Elements;
  readonly dirty: number;
}

/**
 * Works through the items in order, on all workers. A down item waits for the gate-up items of its expert, and a combine
 * item waits for all down items. Each item comes after the items that it waits for, so every wait ends.
 */
export function experts(context: Context, job: ExpertsJob, parts: Parts): void {
  const { kernels } = context;
  const { items, progress, groupSizes } = job;
  const gateUpKind = 0, combineKind = 2;
  const itemSize = 6;
  const allDown = groupSizes.length - 1;
  const packed: PackedRows = { product: undefined, key: "" };

  while (true) {
    const at = Atomics.add(progress, 0, 1) * itemSize;
    if (at >= items.length) return;
    const [kind, matrix, row, rows, column, columns] = items.subarray(at, at + itemSize) as unknown as Fields;
    if (kind === combineKind) {
      waitFor(allDown);
      combine(row, rows);
      continue;
    }
    const isGateUp = kind === gateUpKind;
    if (!isGateUp) waitFor(matrix);
    parts.blockProduct(
      context,
      isGateUp ? job.gateUp : job.down,
      { matrix, row, rows, column, columns },
      packed,
      parts,
    );
    finish(isGateUp ? matrix : allDown);
  }

  function waitFor(group: number) {
    const size = groupSizes[group]!;
    for (let done = Atomics.load(progress, 1 + group); done < size; done = Atomics.load(progress, 1 + group)) {
      Atomics.wait(progress, 1 + group, done);
    }
  }

  function finish(group: number) {
    Atomics.add(progress, 1 + group, 1);
    Atomics.notify(progress, 1 + group);
  }

  /** Writes the output rows of some tokens: the weighted sum of the kept experts' rows and the addend, or zeros. */
  function combine(token: number, tokens: number) {
    const { topK, hidden } = job.combine;
    // A wide row with many slots is combined in pieces, so that the slots fit the memory.
    const piece = Math.max(8, Math.floor(2 ** 26 / (topK + 2) / 8) * 8);
    for (let column = 0; column < hidden; column += piece) {
      combineColumns(token, tokens, column, Math.min(piece, hidden - column));
    }
  }

  function combineColumns(token: number, tokens: number, column: number, count: number) {
    const { hidden, topK, dtype, rows, expertOutputs, weights, addend, addendWeights, output, dirty } = job.combine;
    const size = output.BYTES_PER_ELEMENT;
    const columns = Math.ceil(count / 8) * 8;
    const stride = columns * size;
    const memory = context.allocate({ rows: (topK + 1) * stride, weights: (topK + 1) * 4, out: stride });
    const staged = size === 2 ? context.u16 : context.f32;
    const sum = staged.subarray(memory.out / size, memory.out / size + count);
    let slots = 0;
    const stage = (source: Elements, row: number, weight: number) => {
      const from = row * hidden + column;
      staged.set(source.subarray(from, from + count), (memory.rows + slots * stride) / size);
      context.f32[memory.weights / 4 + slots] = weight;
      slots += 1;
    };
    for (let t = token; t < token + tokens; t++) {
      const to = t * hidden + column;
      slots = 0;
      for (let i = t * topK, end = i + topK; i < end; i++) {
        const row = rows[i]!;
        if (row >= 0) stage(expertOutputs, row, weights[i]!);
      }
      if (addend) stage(addend, t, addendWeights ? addendWeights[t]! : 1);
      if (slots > 0) {
        kernels.combine(dtype, memory.rows, stride, memory.weights, slots, columns, memory.out);
        output.set(sum, to);
      } else if (to < dirty) {
        output.fill(0, to, to + count);
      }
    }
  }
}

type Fields = [kind: number, expert: number, row: number, rows: number, column: number, columns: number];
