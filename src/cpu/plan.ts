// How the work of a call is divided into items for the workers, and the order of the items.
import { expertsFlops } from "../contract/experts_sizes.ts";
import type { ResolvedExperts } from "../contract/resolve_experts.ts";
import type { ProductShape } from "../contract/resolve_ops.ts";
import type { Blocking } from "../wasm/tasks/product.ts";

/** Items for the workers; see `ExpertsJob` and `ProductsJob`. */
export interface Plan {
  readonly items: Int32Array;
  readonly groupSizes: Int32Array;
  /** The approximate fraction of the work before an item. The sums at the end are a small part. */
  doneFraction(item: number): number;
}

const itemSize = 6;

const combineTokens = 64;

/** Blocks with less work than this cost more to distribute and to pack than they gain in balance. */
const minimumFlops = 20e6;

/** The maximum depth of a product: the sums of six rows. A worker's memory has 4 GiB. */
export const maximumDepth = 2 ** 25;

/** The maximum number of elements of A that a worker packs: 1 GiB of f32. */
const packedElements = 2 ** 28;

/** The maximum number of columns of a block with few rows. */
const fewRowsColumns = 2 ** 20;

/** The sizes of what the kernels pack at a time. */
export const blocking: Blocking = { fewRows: 16, depth: 384, rowTiles: 20 };

/** The maximum size of the blocks of the products. */
export interface Cut {
  /** Rows. A worker keeps these rows of A as f32. */
  readonly rows: number;
  /** Columns of sums. A worker keeps `rows * columns` sums, and as many columns of B. */
  readonly columns: number;
  /** A fraction of the whole work. With small blocks, the workers finish at about the same time. */
  readonly share: number;
}

/** The cut for the kernels. It may depend on the number of threads, because it does not change the bits of the result. */
export function kernelCut(threads: number): Cut {
  return { rows: 2052, columns: 1536, share: 1 / threads / 16 };
}

/**
 * The cut for a library. The order of a library's sums may depend on the sizes of the product, and the bits must not
 * depend on the number of threads.
 */
export const blasCut: Cut = { rows: 2048, columns: 1440, share: 1 / 64 };

/** The number of rows of a block whose sums have a given depth. */
export function blockRows(cut: Cut, depth: number): number {
  if (depth > maximumDepth) {
    throw new RangeError(`The depth of a product must be at most ${maximumDepth} on the CPU, got ${depth}`);
  }
  return Math.min(cut.rows, Math.max(6, Math.floor(packedElements / Math.max(1, depth) / 6) * 6));
}

/** Plans a call: the gate-up blocks of each expert, then the down blocks of each expert, then the sums of the tokens. */
export function planExperts(shape: ResolvedExperts, offsets: Int32Array, cut: Cut, threads: number): Plan {
  const { tokens, hidden, intermediate, experts, gated } = shape;
  const items: number[] = [];
  const groupSizes = new Int32Array(experts + 1);
  const largest = Math.max(minimumFlops, expertsFlops(shape, offsets[experts]!) * cut.share);

  // With few rows, reading the weights takes most of the time. Whole rows are fastest, if all threads have an expert.
  const busy = offsets.reduce((sum, start, e) => sum + Number(start < (offsets[e + 1] ?? start)), 0);
  const fewParts = Math.ceil(2 * threads / Math.max(1, busy));

  const addProduct = (kind: 0 | 1, depth: number, width: number, sums: number, group: (expert: number) => number) => {
    for (let e = 0; e < experts; e++) {
      const start = offsets[e]!;
      const rows = offsets[e + 1]! - start;
      if (rows === 0) continue;
      for (const [row, count] of split(rows, blockRows(cut, depth), 6)) {
        const columns = rows < blocking.fewRows
          ? Math.min(width / fewParts, fewRowsColumns)
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

/** Plans a batch of products; see `ProductsJob` for the items. */
export function planProducts({ batch, rows, depth, columns }: ProductShape, cut: Cut): Int32Array {
  const items: number[] = [];
  const largest = Math.max(minimumFlops, 2 * batch * rows * depth * columns * cut.share);
  /** The number of rows (or columns) that make the largest block with this number of columns (or rows). */
  const fit = (others: number) => Math.floor(largest / (2 * depth * Math.max(1, others)));
  const tall = Math.min(blockRows(cut, depth), Math.max(96, fit(Math.min(columns, cut.columns))));
  for (let b = 0; b < batch; b++) {
    for (const [row, count] of split(rows, tall, 6)) {
      for (const [column, size] of split(columns, Math.min(cut.columns, Math.max(64, fit(count))), 8)) {
        items.push(b, b * rows + row, count, column, size);
      }
    }
  }
  return Int32Array.from(items);
}

/** Divides `total` into the fewest parts of at most `size`. All parts but the last have the same size, a multiple of `unit`. */
function* split(total: number, size: number, unit: number): Iterable<[start: number, count: number]> {
  const parts = Math.ceil(total / size);
  const step = Math.ceil(total / parts / unit) * unit;
  for (let start = 0; start < total; start += step) yield [start, Math.min(step, total - start)];
}
