// The shapes of the grouped GEMM's tiles, as cuda/gemm.cu instantiates them.

/** A tile shape. */
export interface TileShape {
  /** Rows of a tile, and the suffix of its kernels' names. */
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
}

/** Largest first. */
export const tileShapes: readonly TileShape[] = [
  { rows: 256, columns: 128, threads: 256 },
  { rows: 128, columns: 128, threads: 128 },
  { rows: 64, columns: 128, threads: 128 },
  { rows: 16, columns: 128, threads: 64 },
];

const depth = 32;

/** Dynamic shared memory of a block: a ring of stages of A and B. */
export function tileSharedBytes({ rows, columns }: TileShape, computeCapability: number): number {
  const stages = computeCapability >= 80 ? 4 : 2;
  return stages * (rows + columns) * depth * 2;
}

/**
 * Chooses the shape for a mean number of rows an expert: the largest that they mostly fill. Large tiles move fewer bytes for
 * the same arithmetic, small ones compute fewer rows that are not there.
 */
export function chooseTile(rowsPerExpert: number): TileShape {
  return tileShapes.find(({ rows }) => rowsPerExpert > rows * 0.75) ?? tileShapes.at(-1)!;
}
