// The launches that the ops share with `experts`: the sort, and a product of matrices.
import type { ProductShape } from "../../contract/resolve_ops.ts";
import { checkGpuLimit } from "../../contract/limits.ts";
import type { DType } from "../../tensor/tensor.ts";
import { defaultVariant } from "../../contract/experts_options.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import type { Argument, LaunchShape } from "../driver/kernel.ts";
import { type PlanDevice, type Product, ProductKernels } from "./product.ts";
import { chooseTile, type TileShape } from "./tiles.ts";

const sortThreads = 256;
const scanThreads = 1024;
const combineThreads = 256;

/** A chunk of the sort has at least this many assignments; there are at most `maxChunks`, which one block scans. */
const minimumChunk = 8192;
const maxChunks = 1024;

/** How a sort is cut up. */
export interface SortPlan {
  /** Values a block goes through. */
  readonly chunk: number;
  readonly blocks: number;
  readonly histogram: LaunchShape & { kernel: string };
  readonly scan: LaunchShape & { kernel: string };
  readonly rank: LaunchShape & { kernel: string };
}

/**
 * Plans the sort of so many values into bins.
 *
 * @throws {RangeError} If either is more than the kernels count.
 */
export function planSort(count: number, bins: number): SortPlan {
  checkGpuLimit("bins", bins, "experts");
  checkGpuLimit("The number of values", count, "assignments");
  const chunks = Math.min(maxChunks, Math.ceil(count / minimumChunk));
  const chunk = Math.ceil(Math.max(1, count) / Math.max(1, chunks) / sortThreads) * sortThreads;
  const blocks = Math.max(1, Math.ceil(count / chunk));
  return {
    chunk,
    blocks,
    histogram: { kernel: "sort_histogram", blocks, threads: sortThreads, sharedBytes: bins * 4 },
    scan: { kernel: "sort_scan", blocks: 1, threads: scanThreads, sharedBytes: bins * 4 },
    rank: { kernel: "sort_rank", blocks, threads: sortThreads, sharedBytes: sortThreads / 32 * bins * 4 },
  };
}

/** Plans gather-and-sum: a warp for each token. */
export function planCombine(dtype: DType, tokens: number): LaunchShape & { kernel: string } {
  const blocks = Math.ceil(tokens / (combineThreads / 32));
  return { kernel: `combine_${dtype}`, blocks, threads: combineThreads, sharedBytes: 0 };
}

/** Plans a product of equally many rows for each matrix of a batch, with the weights that a pointer points to. */
export function planProduct(
  { batch, rows, columns, depth }: ProductShape,
  weights: bigint,
  dtype: DType,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
): LaunchShape & { kernel: string; tile: TileShape; weights: Argument; arguments: Argument[] } {
  const product: Product = { experts: batch, depth, width: columns, gated: false, activation: "none" };
  const products = new ProductKernels({ ...defaultVariant, dtype }, [product], device, kernels);
  const slots = (shape: TileShape) => products.blockShape(shape, product).slots;
  const tile = chooseTile(products.tiles, { experts: batch, rows, even: true, columns, slots });
  const { slots: most, ...launch } = products.blockShape(tile, product);
  const tiles = batch * Math.ceil(rows / tile.rows) * Math.ceil(columns / tile.columns);
  return {
    ...{ ...launch, blocks: Math.min(tiles, most), tile },
    ...{ weights: products.weights(tile, product, weights), arguments: products.arguments(product) },
  };
}
