// Plans the kernel that computes both products of a layer with few rows per expert on Hopper: cuda/stream.cu.
import type { KernelLaunch } from "../driver/kernel.ts";
import { checkInt32, checkMaximum } from "../../contract/limits.ts";
import { listBytes, offsetBytes } from "./block_sort.ts";
import { activationArguments, type Product, type ProductVariant } from "./product.ts";
import type { BoxedTile, TileShape } from "./tiles.ts";
import { splitsColumns, weightBoxes } from "./weight_boxes.ts";

/** The length of the tensor `counters`, i32: tickets, and the announcements of each row tile. The kernel leaves zeros there. */
export const counterCount = 4096;

/**
 * One launch computes both products if there are so many bytes of weights and so many tiles of down for each block, and more than so
 * many bytes for each tile, in gate_up and on average. Otherwise two take less time: few tiles are spread more evenly, and blocks
 * take no tickets.
 */
const oneLaunch = { blockBytes: 768 * 1024, blockTiles: 1.5, tileBytes: 128 * 1024 };

/** The maximum number of assignments that each block of the kernel sorts itself. For more, a kernel before takes less time. */
const maximumSorted = 512;

/** The tensors of the kernel; cuda/stream_gemm.cuh describes them. */
export interface StreamTensors<Pointer> {
  readonly hiddenStates: Pointer | null;
  readonly gateUpProj: Pointer;
  readonly gateUpBias: Pointer | null;
  readonly activations: Pointer;
  readonly downProj: Pointer;
  readonly downBias: Pointer | null;
  readonly out: Pointer;
  /** The expert of each assignment, if the kernel sorts them; or else null, and the next three describe the rows. */
  readonly indices: Pointer | null;
  readonly rowOffsets: Pointer | null;
  readonly tileOffsets: Pointer | null;
  readonly rowIndex: Pointer | null;
  readonly rowScales: Pointer | null;
  /** Null if only one product is computed. */
  readonly counters: Pointer | null;
}

/** A tile of the kernel. */
export type StreamTile = BoxedTile & { readonly streams: true };

/** Whether a tile is computed by the kernel. */
export function isStreamTile(tile: TileShape): tile is StreamTile {
  return "streams" in tile;
}

/** Whether the kernel sorts the assignments itself. */
export function sortsItself(tile: TileShape, assignments: number): boolean {
  return isStreamTile(tile) && assignments <= maximumSorted;
}

/** The time of the sort, as a part of that of a kernel for it. With as many assignments as the kernel sorts, both take as long. */
export function sortPart(tile: TileShape, assignments: number): number {
  return sortsItself(tile, assignments) ? assignments / maximumSorted : 1;
}

/** Whether there are enough counters for a number of row tiles. */
export function hasCounters(tile: TileShape, rowTiles: number): boolean {
  return !isStreamTile(tile) || rowTiles < counterCount;
}

/** The sizes of a launch. */
export interface StreamSizes {
  /** The maximum number of row tiles over all experts. */
  readonly rowTiles: number;
  /** How many blocks the GPU runs at once. */
  readonly slots: number;
  /** The number of assignments, of those of each token, and the maximum for each expert, if the kernel sorts them. */
  readonly assignments: number;
  readonly topK: number;
  readonly capacity: number;
}

/**
 * Plans the kernel.
 *
 * @param kernel Its name.
 * @param gateUp The first product, or undefined if `activations` are given and only the second product is computed.
 * @param used The number of experts that are expected to have rows.
 * @returns One or two launches.
 * @throws {RangeError} If a product is too large for the kernel's 32-bit indices.
 */
export function planStream<Pointer>(
  kernel: string,
  tile: StreamTile,
  variant: ProductVariant,
  gateUp: Product | undefined,
  down: Product,
  { rowTiles, slots, assignments, topK, capacity }: StreamSizes,
  used: number,
  { gateUpProj, downProj, ...tensors }: StreamTensors<Pointer>,
): KernelLaunch<Pointer>[] {
  const { experts, depth: intermediate, width: hidden } = down;
  const gateUpWidth = gateUp?.width ?? 0;
  checkMaximum("The depth of a product", Math.max(hidden, intermediate));
  checkMaximum("The number of columns of a product", Math.max(gateUpWidth, hidden));
  checkInt32("The number of columns of all experts", experts * Math.max(gateUpWidth, hidden));
  const boxes = (product: Product, pointer: Pointer) => ({ ...weightBoxes(variant, product, tile), pointer });
  const launch = (products: 1 | 2 | 3): KernelLaunch<Pointer> => {
    const width = (products & 1 && gateUpWidth) + (products & 2 && hidden);
    const tiles = rowTiles * (Math.ceil(width / tile.columns) + 1);
    checkInt32("The number of tiles of the products", tiles + 2 * slots);
    return {
      kernel,
      blocks: Math.min(tiles, slots),
      threads: tile.threads,
      sharedBytes: tile.sharedBytes +
        (tensors.indices === null ? 0 : offsetBytes(experts) + listBytes(assignments)),
      arguments: {
        ...tensors,
        gateUpWeights: boxes(gateUp ?? down, gateUpProj),
        downWeights: boxes(down, downProj),
        ...activationArguments(variant, gateUp?.activation ?? "none", gateUp !== undefined),
        ...{ experts, hidden, intermediate, gateUpWidth, products, assignments, topK, capacity },
        ready: Number(products === 2 && gateUp !== undefined),
        split: Number(gateUp !== undefined && variant.gateUpLayout === "concatenated"),
      },
    };
  };
  if (!gateUp) return [launch(2)];
  const weightBytes = 2 * used * hidden * (gateUpWidth + intermediate),
    columnTiles = (gateUpWidth + hidden) / tile.columns;
  // With split columns, neighbouring tiles share lines of memory, which they only read together if they have no tickets.
  const takesTickets = !splitsColumns(variant, gateUp) && weightBytes >= oneLaunch.blockBytes * slots &&
    used * Math.ceil(hidden / tile.columns) >= oneLaunch.blockTiles * slots &&
    Math.min(2 * hidden * tile.columns, weightBytes / (used * columnTiles)) > oneLaunch.tileBytes;
  return takesTickets ? [launch(3)] : [launch(1), launch(2)];
}
