// Plans the launches that several ops share: the sort, gather-and-sum, and a product of matrices.
import { defaultVariant } from "../../contract/experts_options.ts";
import type { ProductShape } from "../../contract/resolve_ops.ts";
import type { DType } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { cudaDTypeCode } from "./codes.ts";
import { checkMaximum, maximumExperts, maximumItems } from "../../contract/limits.ts";
import { type PlanDevice, type Product, ProductKernels, type ProductTensors } from "./product.ts";
import { chooseTile } from "./tiles.ts";

const sortThreads = 256;
const scanThreads = 1024;
const combineThreads = 256;
const opThreads = 256;

/** A chunk of the sort has at least `minimumChunk` assignments. One block scans the counts of at most `maximumChunks`. */
const minimumChunk = 8192;
const maximumChunks = 1024;

/** How a sort is split into chunks, one per block. */
export interface SortChunks {
  /** Assignments per chunk. */
  readonly chunk: number;
  readonly blocks: number;
}

/** Splits a sort into chunks. */
export function sortChunks(count: number): SortChunks {
  const chunks = Math.min(maximumChunks, Math.ceil(count / minimumChunk));
  const chunk = Math.ceil(Math.max(1, count) / Math.max(1, chunks) / sortThreads) * sortThreads;
  return { chunk, blocks: Math.max(1, Math.ceil(count / chunk)) };
}

/** The sizes of a sort. */
export interface SortShape {
  /** The number of assignments. */
  readonly count: number;
  readonly experts: number;
  readonly topK: number;
  readonly capacity: number;
  /** Rows per tile. */
  readonly tileRows: number;
}

/** The tensors of a sort; cuda/sort.cu describes them. */
export interface SortTensors<Pointer> {
  readonly indices: Pointer;
  readonly counts: Pointer;
  readonly totals: Pointer;
  readonly rowOffsets: Pointer;
  readonly tileOffsets: Pointer;
}

/** The tensors of a sort that also computes the row of each assignment. */
export interface RankTensors<Pointer> extends SortTensors<Pointer> {
  readonly inputWeights: Pointer | null;
  readonly rows: Pointer;
  readonly rowTokens: Pointer;
  readonly rowScales: Pointer | null;
}

/**
 * Plans the first two kernels of the sort, which count the assignments of each expert.
 *
 * @throws {RangeError} If there are more assignments or experts than the kernels count.
 */
export function planCounts<Pointer>(
  { count, experts, capacity, tileRows }: SortShape,
  { indices, counts, totals, rowOffsets, tileOffsets }: SortTensors<Pointer>,
): [histogram: KernelLaunch<Pointer>, scan: KernelLaunch<Pointer>] {
  checkMaximum("The number of experts", experts, maximumExperts);
  checkMaximum("The number of assignments", count);
  const { chunk, blocks } = sortChunks(count);
  return [
    {
      ...{ kernel: "sort_histogram", blocks, threads: sortThreads, sharedBytes: experts * 4 },
      arguments: { indices, counts, n: count, chunk, experts },
    },
    {
      ...{ kernel: "sort_scan", blocks: 1, threads: scanThreads, sharedBytes: experts * 4 },
      arguments: {
        ...{ counts, totals, rowOffsets, tileOffsets, experts, blocks, tileRows },
        capacity: Math.min(capacity, maximumItems), // there are not more assignments
      },
    },
  ];
}

/** Plans the last kernel of the sort, which computes the row of each assignment. */
export function planRank<Pointer>(
  { count, experts, topK, capacity }: SortShape,
  { indices, counts, rowOffsets, inputWeights, rows, rowTokens, rowScales }: RankTensors<Pointer>,
): KernelLaunch<Pointer> {
  const { chunk, blocks } = sortChunks(count);
  return {
    ...{ kernel: "sort_rank", blocks, threads: sortThreads, sharedBytes: sortThreads / 32 * experts * 4 },
    arguments: {
      ...{ indices, counts, rowOffsets, inputWeights, rows, rowTokens, rowScales },
      ...{ n: count, chunk, experts, topK, capacity: Math.min(capacity, maximumItems) },
    },
  };
}

/** The sizes of gather-and-sum. */
export interface CombineShape {
  readonly tokens: number;
  readonly topK: number;
  readonly weightColumns: number;
  readonly width: number;
}

/** The tensors of gather-and-sum; cuda/combine.cu describes them. */
export interface CombineTensors<Pointer> {
  readonly expertOutputs: Pointer;
  readonly rows: Pointer;
  readonly weights: Pointer;
  readonly indices: Pointer | null;
  readonly addend: Pointer | null;
  readonly addendWeights: Pointer | null;
  readonly out: Pointer;
}

/** Plans gather-and-sum: one warp per token. */
export function planCombine<Pointer>(
  dtype: DType,
  weightsDType: DType,
  shape: CombineShape,
  tensors: CombineTensors<Pointer>,
): KernelLaunch<Pointer> {
  checkMaximum("The number of tokens", shape.tokens);
  checkMaximum("The number of columns", shape.width);
  return {
    kernel: `combine_${dtype}`,
    blocks: Math.ceil(shape.tokens / (combineThreads / 32)),
    threads: combineThreads,
    sharedBytes: 0,
    arguments: { ...tensors, ...shape, weightsDtype: cudaDTypeCode(weightsDType) },
  };
}

/** Plans a product with the same number of rows for each matrix of a batch, and the kernel that computes its offsets. */
export function planProduct(
  { batch, rows, columns, depth }: ProductShape,
  dtype: DType,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  tensors: Pick<ProductTensors<bigint>, "input" | "weights" | "out" | "rowOffsets" | "tileOffsets">,
): KernelLaunch[] {
  const product: Product = {
    ...{ experts: batch, depth, width: columns, gated: false, activation: "none" },
    format: { kind: "dense", dtype },
    offsetsReady: false,
  };
  const products = new ProductKernels({ ...defaultVariant, dtype }, [product], device, kernels);
  const slots = (tile: (typeof products.tiles)[number]) => products.slots(tile, product);
  const tile = chooseTile(products.tiles, { experts: batch, rows, even: true, columns, slots });
  const tiles = Math.ceil(rows / tile.rows);
  const { rowOffsets, tileOffsets } = tensors;
  return [
    {
      ...{ kernel: "even_offsets", blocks: 1, threads: opThreads, sharedBytes: 0 },
      arguments: { rowOffsets, tileOffsets, groups: batch, rows, tiles },
    },
    products.launch(tile, product, batch * tiles, { ...tensors, bias: null, rowIndex: null, rowScales: null }),
  ];
}

/** Plans a kernel that computes an item per thread, in a grid of limited size. */
export function planItems(
  kernel: string,
  items: number,
  multiprocessors: number,
  args: KernelLaunch["arguments"],
): KernelLaunch {
  const blocks = Math.min(Math.ceil(items / opThreads), multiprocessors * 8);
  return { kernel, blocks, threads: opThreads, sharedBytes: 0, arguments: args };
}
