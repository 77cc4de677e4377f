// How the work of one `experts` call is cut into items, and in which order they stand.
import type { ProductShape } from "../contract/resolve_ops.ts";
import type { Blocking } from "../wasm/tasks/experts_job.ts";
import { expertsFlops } from "../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";

/** Items for the workers; see `ExpertsJob`. */
export interface Plan {
  readonly items: Int32Array;
  readonly groupSizes: Int32Array;
  /** About which fraction of the work lies in the items before one: the sums at the end are little. */
  doneFraction(item: number): number;
}

const itemSize = 6;

const combineTokens = 64;

/** Blocks below this much work cost more to hand out and to pack than they even out. */
const minimumFlops = 20e6;

/** What the kernels pack at a time. */
export const blocking: Blocking = { fewRows: 16, depth: 384, rowTiles: 20 };

/** How large the blocks of the products may be. */
export interface Cut {
  /** Rows; a worker holds those rows of A, as f32. */
  readonly rows: number;
  /** Columns of sums; a worker holds `rows * columns` of them, and as many columns of B. */
  readonly columns: number;
  /** The fraction of the whole work, for the last ones to end together. */
  readonly share: number;
}

/** The cut for the kernels. It changes no bits of the result, so it may depend on the number of threads. */
export function kernelCut(threads: number): Cut {
  return { rows: 2052, columns: 1536, share: 1 / threads / 16 };
}

/** The cut for a library: how it adds up may depend on the sizes it gets, and the bits must not depend on the threads. */
export const blasCut: Cut = { rows: 2048, columns: 1440, share: 1 / 64 };

/** Plans a call: for each expert its gate-up blocks, then for each its down blocks, then the tokens' sums. */
export function planExperts(shape: ResolvedExperts, offsets: Int32Array, cut: Cut, threads: number): Plan {
  const { tokens, hidden, intermediate, experts, gated } = shape;
  const items: number[] = [];
  const groupSizes = new Int32Array(experts + 1);
  const largest = Math.max(minimumFlops, expertsFlops(shape, offsets[experts]!) * cut.share);

  // Few rows: what counts is reading the weights, in whole rows where there are experts enough for all threads.
  const busy = offsets.reduce((sum, start, e) => sum + Number(start < (offsets[e + 1] ?? start)), 0);
  const fewParts = Math.ceil(2 * threads / Math.max(1, busy));

  const addProduct = (kind: 0 | 1, depth: number, width: number, sums: number, group: (expert: number) => number) => {
    for (let e = 0; e < experts; e++) {
      const start = offsets[e]!;
      const rows = offsets[e + 1]! - start;
      if (rows === 0) continue;
      for (const [row, count] of split(rows, cut.rows, 6)) {
        const columns = rows < blocking.fewRows
          ? width / fewParts
          : Math.min(cut.columns, Math.floor(largest / (2 * depth * count))) / sums;
        for (const [column, size] of split(width, Math.max(columns, 64), 8)) {
          items.push(kind, e, start + row, count, column, size);
          groupSizes[group(e)]! += 1;
        }
      }
    }
  };
  addProduct(0, hidden, intermediate, gated ? 2 : 1, (e) => e);
  addProduct(1, intermediate, hidden, 1, () => experts);
  const products = items.length / itemSize;
  for (const [token, count] of split(tokens, combineTokens, 1)) items.push(2, 0, token, count, 0, 0);
  return {
    items: Int32Array.from(items),
    groupSizes,
    doneFraction: (item) => Math.min(1, item / Math.max(1, products)),
  };
}

/** Plans plain products: as if each of the batch were an expert's second one, with nothing to wait for. */
export function planProducts({ batch, rows, depth, columns }: ProductShape, cut: Cut): Plan {
  const items: number[] = [];
  const largest = Math.max(minimumFlops, 2 * batch * rows * depth * columns * cut.share);
  /** How many rows or columns make the largest block with as many of the others. */
  const fit = (others: number) => Math.floor(largest / (2 * depth * Math.max(1, others)));
  const tall = Math.min(cut.rows, Math.max(96, fit(Math.min(columns, cut.columns))));
  for (let b = 0; b < batch; b++) {
    for (const [row, count] of split(rows, tall, 6)) {
      for (const [column, size] of split(columns, Math.min(cut.columns, Math.max(64, fit(count))), 8)) {
        items.push(1, b, b * rows + row, count, column, size);
      }
    }
  }
  return {
    items: Int32Array.from(items),
    groupSizes: new Int32Array(batch + 1),
    doneFraction: (item) => Math.min(1, item * itemSize / Math.max(1, items.length)),
  };
}

/** Cuts `total` into the fewest parts of at most `size`, all but the last of the same multiple of `unit`. */
function* split(total: number, size: number, unit: number): Iterable<[start: number, count: number]> {
  const parts = Math.ceil(total / size);
  const step = Math.ceil(total / parts / unit) * unit;
  for (let start = 0; start < total; start += step) yield [start, Math.min(step, total - start)];
}
