// Plans the kernel of both products with packed weights and few rows for each expert: see cuda/packed_few.cuh.
import type { ResolvedExperts } from "../../contract/resolve_experts.ts";
import type { TileShape } from "./tiles.ts";

const resident = 4; // blocks of a multiprocessor
const deep = 4; // steps in a stage
const maximumStages = 7;
const headerBytes = 896; // before the ring
const budget = 228 * 1024 / resident - 1024;

/** The maximum number of row tiles. */
const maximumTiles = 4096;

/** The maximum number of assignments that the kernel sorts by itself: each tile searches all of them. */
const maximumSorted = 2048;

/** The tile of cuda/packed_few.cuh. */
export const fewTile = {
  ...{ name: "16", rows: 16, columns: 64, threads: 192, widths: [8, 16], resident, sharedBytes: 0, efficiency: 1 },
} as const satisfies TileShape & Record<string, unknown>;

/** Whether the kernel can compute so many rows of so many experts. */
export function fitsFewTile(rows: number, experts: number): boolean {
  return Math.floor(rows / fewTile.rows) + experts <= maximumTiles && rows < 2 ** 16;
}

/** The shared memory of a block. */
export function fewBlock(
  { experts, tokens, topK }: Pick<ResolvedExperts, "experts" | "tokens" | "topK">,
  blockBytes: number,
): { readonly stages: number; readonly stageBytes: number; readonly sharedBytes: number; readonly sorts: boolean } {
  const stageBytes = fewTile.rows * (deep * 128 + 16) + deep * blockBytes;
  const fixed = headerBytes + 4 * (experts + 1), listBytes = 2 * tokens * topK;
  const stages = Math.min(maximumStages, Math.floor((budget - fixed) / stageBytes));
  const ring = fixed + stages * stageBytes;
  const sorts = tokens * topK <= maximumSorted && ring + listBytes <= budget;
  return { stages, stageBytes, sharedBytes: ring + (sorts ? listBytes : 0), sorts };
}
