// The tile of cuda/packed_few.cuh, and the shared memory of its kernel.
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import { listBytes, offsetBytes } from "./block_sort.ts";
import { type BlockLayout, rowScaleBytes } from "./packed_layout.ts";
import type { TileShape } from "./tiles.ts";

const deep = 4; // steps in a stage
const maximumStages = 6;
const headerBytes = 512; // before the ring

/** The maximum number of assignments that the kernel sorts. */
const maximumSorted = 1024;

/** The counters beside those of the row tiles. */
export const otherCounters = 2;

/** The tile. `resident` is the maximum number of blocks that share a multiprocessor. */
export const fewTile = {
  ...{ name: "16", rows: 16, columns: 64, threads: 224, widths: [8, 16], resident: 4, sharedBytes: 0 },
} as const satisfies TileShape & Record<string, unknown>;

/** The shared memory of a block. */
export interface FewBlock {
  /** Stages of the ring. */
  readonly stages: number;
  readonly stageBytes: number;
  readonly sharedBytes: number;
}

/** The bytes of a sort beside the offsets: the list, the next row of each expert, and the order. */
const sortBytes = (assignments: number, experts: number) => listBytes(assignments) + 4 * experts + 2 * assignments;

type FewShape = Pick<ResolvedExperts, "experts" | "tokens" | "topK" | "capacity">;

/** The bytes of a stage's weights, and of the scales of their rows. */
export function stageWeightBytes({ blockBytes, hasRowScales }: BlockLayout): number {
  return deep * blockBytes + (hasRowScales ? rowScaleBytes : 0);
}

/** The dynamic shared memory of each of a number of blocks that share a multiprocessor. */
const budget = (resident: number) => Math.floor(228 * 1024 / resident) - 1024;

/**
 * Divides the shared memory of a block.
 *
 * @param weightBytes The most bytes of {@linkcode stageWeightBytes} of both weights.
 * @param sorts Whether the kernel sorts the assignments.
 * @param resident The number of blocks that share a multiprocessor.
 */
export function fewBlock(
  { experts, tokens, topK }: FewShape,
  weightBytes: number,
  sorts: boolean,
  resident: number = fewTile.resident,
): FewBlock {
  const stageBytes = fewTile.rows * (deep * 128 + 16) + weightBytes;
  const fixed = headerBytes + offsetBytes(experts) + (sorts ? sortBytes(tokens * topK, experts) : 0);
  const stages = Math.min(maximumStages, Math.floor((budget(resident) - fixed) / stageBytes));
  return { stages, stageBytes, sharedBytes: fixed + stages * stageBytes };
}

/** Whether the kernel can sort the assignments itself, with as many stages as without the sort. It drops none. */
export function sortsFew(shape: FewShape, weightBytes: number): boolean {
  const assignments = shape.tokens * shape.topK;
  const [without, sorting] = [false, true].map((sorts) => fewBlock(shape, weightBytes, sorts).stages);
  return assignments <= maximumSorted && shape.capacity >= assignments && sorting === without;
}
