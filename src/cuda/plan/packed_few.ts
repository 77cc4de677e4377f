// Plans the kernel of both products with packed weights and few rows for each expert: see cuda/packed_few.cuh.
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import type { TileShape } from "./tiles.ts";

const resident = 4; // blocks of a multiprocessor
const deep = 4; // steps in a stage
const maximumStages = 7;
const headerBytes = 1024; // before the ring
const budget = 228 * 1024 / resident - 1024;

/** The maximum number of assignments that the kernel sorts: a block searches all of them for each tile. */
const maximumSorted = 2048;

/** The tile of cuda/packed_few.cuh. */
export const fewTile = {
  ...{ name: "16", rows: 16, columns: 64, threads: 192, widths: [8, 16], resident, sharedBytes: 0, efficiency: 1 },
} as const satisfies TileShape & Record<string, unknown>;

/** The shared memory of a block. */
export interface FewBlock {
  readonly stages: number;
  readonly stageBytes: number;
  /** The bytes of all stages and what precedes them. */
  readonly ringBytes: number;
  /** The bytes of the sort. */
  readonly sortBytes: number;
  /** Whether the kernel can sort the assignments. */
  readonly sorts: boolean;
}

/**
 * Divides the shared memory of a block.
 *
 * @param blockBytes The bytes of the largest block of weights.
 */
export function fewBlock(
  { experts, tokens, topK, capacity }: Pick<ResolvedExperts, "experts" | "tokens" | "topK" | "capacity">,
  blockBytes: number,
): FewBlock {
  const assignments = tokens * topK;
  const stageBytes = fewTile.rows * (deep * 128 + 16) + deep * blockBytes;
  const sortBytes = 8 * (experts + 1) + 2 * assignments;
  const stages = Math.min(maximumStages, Math.floor((budget - headerBytes) / stageBytes));
  const ringBytes = headerBytes + stages * stageBytes;
  const sorts = assignments <= maximumSorted && capacity >= assignments && ringBytes + sortBytes <= budget;
  return { stages, stageBytes, ringBytes, sortBytes, sorts };
}
