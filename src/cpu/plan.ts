// How the work of one `experts` call is cut into items, and in which order they stand.
import type { ExpertsShape } from "../experts_shape.ts";

/** Items for the workers; see `ExpertsJob`. */
export interface Plan {
  readonly items: Int32Array;
  readonly groupSizes: Int32Array;
  /** About which fraction of the work lies in the items before one: the sums at the end are little. */
  doneFraction(item: number): number;
}

const itemSize = 6;

/** Rows of one block: its sums, `blockRows * blockColumns` f32, are the largest thing a worker holds. */
const blockRows = 2052;
const blockColumns = 1536;
const combineTokens = 64;

/** Blocks below this much work cost more to hand out and to pack than they even out. */
const minimumFlops = 20e6;

/**
 * Plans a call: for each expert its gate-up blocks, then for each its down blocks, then the tokens' sums. The cuts change
 * no bits of the result, so they may depend on the number of threads: no block is more than about a sixteenth of a
 * thread's share, for the last ones to end together.
 */
export function planExperts(shape: ExpertsShape, offsets: Int32Array, threads: number): Plan {
  const { tokens, hidden, intermediate, experts } = shape;
  const items: number[] = [];
  const groupSizes = new Int32Array(experts + 1);
  const kept = offsets[experts]!;
  const flops = kept * 6 * hidden * intermediate;
  const largest = Math.max(minimumFlops, flops / threads / 16);

  const addProduct = (kind: 0 | 1, depth: number, width: number, group: (expert: number) => number) => {
    for (let e = 0; e < experts; e++) {
      const start = offsets[e]!;
      const rows = offsets[e + 1]! - start;
      if (rows === 0) continue;
      for (const [row, count] of split(rows, blockRows, 6)) {
        const columns = Math.min(blockColumns, Math.floor(largest / (2 * depth * count)));
        for (const [column, size] of split(width, Math.max(columns, 64), 8)) {
          items.push(kind, e, start + row, count, column, size);
          groupSizes[group(e)]! += 1;
        }
      }
    }
  };
  addProduct(0, hidden, 2 * intermediate, (e) => e);
  addProduct(1, intermediate, hidden, () => experts);
  const products = items.length / itemSize;
  for (const [token, count] of split(tokens, combineTokens, 1)) items.push(2, 0, token, count, 0, 0);
  return {
    items: Int32Array.from(items),
    groupSizes,
    doneFraction: (item) => Math.min(1, item / Math.max(1, products)),
  };
}

/** Cuts `total` into the fewest parts of at most `size`, all but the last of the same multiple of `unit`. */
function* split(total: number, size: number, unit: number): Iterable<[start: number, count: number]> {
  const parts = Math.ceil(total / size);
  const step = Math.ceil(total / parts / unit) * unit;
  for (let start = 0; start < total; start += step) yield [start, Math.min(step, total - start)];
}
