// Plans the launches that several ops share: the sort, gather-and-sum, and a product of matrices.
import { defaultVariant } from "../../contract/experts_options.ts";
import type { ProductShape } from "../../contract/resolve_ops.ts";
import { bytesPerElement, type DType } from "../../tensor/tensor.ts";
import type { KernelLaunch } from "../driver/kernel.ts";
import type { KernelRecord } from "../images/manifest_types.ts";
import { chooseTile } from "./choose_tile.ts";
import { cudaDTypeCode } from "./codes.ts";
import { checkInt32, checkMaximum, maximumExperts, maximumItems } from "../../contract/limits.ts";
import { type PlanDevice, type Product, ProductKernels, type ProductTensors } from "./product.ts";
import { denseParts } from "./stored.ts";
import { isStreamTile, planStream } from "./stream.ts";

const sortThreads = 256;
const scanThreads = 1024;
const smallSortThreads = 1024, smallSortPart = 128; // assignments per warp
const combineThreads = 128;
const combineWarps = 32; // per multiprocessor, at once
const opThreads = 256;

/** The sort has at most `maximumChunks` chunks, because one block scans their counts. */
const maximumChunks = 1024;

/** The shared memory that the kernel for short lists may use. */
const smallSortBytes = 48 * 1024;

/** How a sort is split into chunks, one per block. */
export interface SortChunks {
  /** Assignments per chunk. */
  readonly chunk: number;
  readonly blocks: number;
}

/** Splits a sort into chunks. */
export function sortChunks(count: number): SortChunks {
  // About a block for each multiprocessor, unless the chunks were very short or long.
  const chunks = Math.min(maximumChunks, Math.max(Math.ceil(count / 8192), Math.min(128, Math.ceil(count / 1024))));
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
  readonly inputWeights: Pointer | null;
  /** Counts of each chunk, unless one kernel sorts everything; see {@linkcode sortCounts}. */
  readonly counts: Pointer | null;
  readonly totals: Pointer;
  readonly rowOffsets: Pointer;
  readonly tileOffsets: Pointer;
  /** The row of each assignment, or null to compute only the counts and offsets. */
  readonly rows: Pointer | null;
  readonly rowTokens: Pointer | null;
  readonly rowScales: Pointer | null;
}

/** The number of integers that a sort needs for the counts of its chunks. */
export function sortCounts({ count, experts }: Pick<SortShape, "count" | "experts">): number {
  return smallSort(count, experts) ? 0 : experts * sortChunks(count).blocks;
}

/** The launch of the kernel that sorts a short list by itself, or undefined if the list is too long. */
function smallSort(count: number, experts: number) {
  const warps = Math.max(1, Math.min(smallSortThreads / 32, Math.ceil(count / 64)));
  const sharedBytes = Math.ceil(experts / 4) * 16 + warps * Math.ceil(experts / 8) * 16 + count * 2;
  if (count > warps * smallSortPart || sharedBytes > smallSortBytes) return undefined;
  return { warps, threads: Math.max(Math.ceil(experts / 32), warps) * 32, sharedBytes };
}

/**
 * Plans a sort.
 *
 * @throws {RangeError} If there are more assignments or experts than the kernels count.
 */
export function planSort<Pointer>(
  { count, experts, topK, capacity: limit, tileRows }: SortShape,
  tensors: SortTensors<Pointer>,
): KernelLaunch<Pointer>[] {
  checkMaximum("The number of experts", experts, maximumExperts);
  checkMaximum("The number of assignments", count);
  const { indices, inputWeights, counts, totals, rowOffsets, tileOffsets, rows, rowTokens, rowScales } = tensors;
  const capacity = Math.min(limit, maximumItems); // there are not more assignments
  const small = smallSort(count, experts);
  if (small) {
    const { warps, ...block } = small;
    return [{
      ...{ kernel: "sort_small", blocks: 1, ...block },
      arguments: {
        ...{ indices, inputWeights, totals, rowOffsets, tileOffsets, rows, rowTokens, rowScales },
        ...{ n: count, experts, topK, capacity, tileRows, warps },
      },
    }];
  }
  const { chunk, blocks } = sortChunks(count);
  const launches: KernelLaunch<Pointer>[] = [
    {
      ...{ kernel: "sort_histogram", blocks, threads: sortThreads, sharedBytes: experts * 4 },
      arguments: { indices, counts, n: count, chunk, experts },
    },
    {
      ...{ kernel: "sort_scan", blocks: 1, threads: scanThreads, sharedBytes: experts * 4 },
      arguments: { counts, totals, rowOffsets, tileOffsets, experts, blocks, tileRows, capacity },
    },
  ];
  if (rows !== null) {
    launches.push({
      ...{ kernel: "sort_rank", blocks, threads: sortThreads, sharedBytes: sortThreads / 32 * experts * 4 },
      arguments: {
        ...{ indices, counts, rowOffsets, inputWeights, rows, rowTokens, rowScales },
        ...{ n: count, chunk, experts, topK, capacity },
      },
    });
  }
  return launches;
}

/** The sizes of gather-and-sum. */
export interface CombineShape {
  readonly tokens: number;
  readonly topK: number;
  readonly weightColumns: number;
  readonly width: number;
  /** Whether the rows, weights and indices are older than the previous kernel's results. Defaults to `false`. */
  readonly slotsReady?: boolean;
  /** Whether `weights` has a column for each expert. By default, if there are indices. */
  readonly denseWeights?: boolean;
  /** The number of experts, and the maximum number of rows of each; used without `rows`. */
  readonly experts?: number;
  readonly capacity?: number;
}

/** The tensors of gather-and-sum; cuda/combine.cu describes them. */
export interface CombineTensors<Pointer> {
  readonly expertOutputs: Pointer;
  /** Null if the rows are in the order of the slots. Then slots with an unknown expert are dropped. */
  readonly rows: Pointer | null;
  readonly weights: Pointer;
  readonly indices: Pointer | null;
  readonly addend: Pointer | null;
  readonly addendWeights: Pointer | null;
  readonly out: Pointer;
}

/**
 * Plans gather-and-sum. The columns of a token are divided among more warps if there are few tokens.
 *
 * @param outDType The dtype of the output: that of the rows, or `"f32"` for sums that are not rounded, without an addend.
 * @throws {RangeError} If there are more tokens, columns or warps than the kernels count.
 */
export function planCombine<Pointer>(
  dtype: DType,
  weightsDType: DType,
  { slotsReady = false, denseWeights, experts = 0, capacity = 0, ...shape }: CombineShape,
  tensors: CombineTensors<Pointer>,
  multiprocessors: number,
  outDType: DType = dtype,
): KernelLaunch<Pointer> {
  const { tokens, width } = shape;
  checkMaximum("The number of tokens", tokens);
  checkMaximum("The number of columns", width);
  const rowBytes = width * bytesPerElement(dtype);
  const parts = Math.max(1, Math.ceil(rowBytes / 512)); // of 16 bytes per lane
  const enough = Math.floor(multiprocessors * combineWarps / Math.max(1, tokens));
  const dropsSlots = tensors.rows === null && capacity < tokens * shape.topK; // only combine_few can
  const few = enough >= parts || rowBytes % 16 !== 0 || dropsSlots;
  // Of many tokens, a warp computes two parts at a time, once or twice.
  const warps = few ? parts : Math.max(Math.ceil(parts / 4), Math.min(enough, Math.ceil(parts / 2)));
  checkInt32("The number of warps of gather-and-sum", tokens * warps);
  return {
    kernel: `combine_${outDType !== dtype ? "sums_" : few ? "few_" : ""}${dtype}`,
    blocks: Math.ceil(tokens * warps / (combineThreads / 32)),
    ...{ threads: combineThreads, sharedBytes: 0 },
    arguments: {
      ...tensors,
      ...shape,
      weightsDtype: cudaDTypeCode(weightsDType),
      denseWeights: Number(denseWeights ?? tensors.indices !== null),
      experts,
      capacity,
      warps,
      // The fence before early loads costs more than it saves if there are many blocks.
      slotsReady: Number(slotsReady && few),
    },
  };
}

/**
 * Plans a product with the same number of rows for each matrix of a batch, and the kernel that computes its offsets. No size may
 * be zero.
 */
export function planProduct(
  { batch, rows, columns, depth }: ProductShape,
  dtype: DType,
  device: PlanDevice,
  kernels: readonly KernelRecord[],
  { weights, ...tensors }:
    & { readonly weights: bigint }
    & Pick<
      ProductTensors<bigint>,
      "input" | "out" | "rowOffsets" | "tileOffsets" | "counters"
    >,
): KernelLaunch[] {
  const product: Product = {
    ...{ experts: batch, depth, width: columns, gated: false, activation: "none" },
    format: { kind: "dense", dtype },
    offsetsReady: false,
  };
  const products = new ProductKernels({ ...defaultVariant, dtype }, [product], device, kernels);
  const tile = chooseTile(products.tiles, {
    ...{ experts: batch, rows, even: true, multiprocessors: device.multiprocessors },
    products: [{ ...product, split: false }],
    sort: () => 0,
    resident: (tile) => products.resident(tile, product),
  });
  const tiles = Math.ceil(rows / tile.rows), rowTiles = batch * tiles;
  const { rowOffsets, tileOffsets } = tensors;
  return [
    {
      ...{ kernel: "even_offsets", blocks: 1, threads: opThreads, sharedBytes: 0 },
      arguments: { rowOffsets, tileOffsets, groups: batch, rows, tiles },
    },
    ...isStreamTile(tile)
      ? planStream(
        products.name(tile, product),
        tile,
        { ...defaultVariant, dtype },
        undefined,
        product,
        { rowTiles, slots: products.slots(tile, product), assignments: 0, topK: 0, capacity: 0 },
        0,
        {
          ...{ hiddenStates: null, gateUpProj: weights, gateUpBias: null, activations: tensors.input },
          ...{ downProj: weights, downBias: null, out: tensors.out, indices: null, rowOffsets, tileOffsets },
          ...{ rowIndex: null, rowScales: null, counters: null },
        },
      )
      : [products.launch(tile, product, { rows: batch * rows, rowTiles }, {
        ...{ ...tensors, weights: denseParts(weights), bias: null, rowIndex: null, rowScales: null },
      })],
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
