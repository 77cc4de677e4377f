// The shapes of the grouped GEMM's tiles, as cuda/gemm.cu instantiates them.

/** A tile shape. */
export interface TileShape {
  /** Rows of a tile, and the suffix of its kernels' names. */
  readonly rows: number;
  readonly columns: number;
  readonly threads: number;
  /**
   * How fast a multiprocessor full of such tiles multiplies, over how fast it does with the largest. Measured on an H100;
   * a large tile moves fewer bytes for the same arithmetic.
   */
  readonly efficiency: number;
}

/** Largest first. */
export const tileShapes: readonly TileShape[] = [
  { rows: 256, columns: 128, threads: 256, efficiency: 1 },
  { rows: 128, columns: 128, threads: 128, efficiency: 0.86 },
  { rows: 64, columns: 128, threads: 128, efficiency: 0.74 },
  { rows: 16, columns: 128, threads: 64, efficiency: 0.24 },
];

const depth = 32;

/** Dynamic shared memory of a block: a ring of stages of A and B. */
export function tileSharedBytes({ rows, columns }: TileShape, computeCapability: number): number {
  const stages = computeCapability >= 80 ? 4 : 2;
  return stages * (rows + columns) * depth * 2;
}

/** What {@linkcode chooseTile} weighs. */
export interface TileChoice {
  /** Experts that have rows. */
  readonly experts: number;
  /** The mean of their rows. */
  readonly rows: number;
  /** Whether all have just that many, by their capacity, rather than as chance has it. */
  readonly even: boolean;
  /** Columns of both products together. */
  readonly columns: number;
  /** How many tiles of a shape the GPU computes at once. */
  readonly slots: (shape: TileShape) => number;
}

/**
 * Chooses the shape that is done first. A tile takes as long when it is half empty as when it is full, and the last of the
 * waves in which tiles run as long as the others.
 */
export function chooseTile({ experts, rows, even, columns, slots }: TileChoice): TileShape {
  const spread = even ? 0 : Math.sqrt(rows);
  const cost = (shape: TileShape) => {
    const rowTiles = [-1, 0, 1].map((sigma) => Math.ceil(Math.max(1, rows + sigma * spread) / shape.rows));
    const tiles = experts * (rowTiles.reduce((sum, count) => sum + count) / 3) * Math.ceil(columns / shape.columns);
    return Math.ceil(tiles / slots(shape)) * slots(shape) * shape.rows * shape.columns / shape.efficiency;
  };
  return tileShapes.reduce((best, shape) => cost(shape) < cost(best) ? shape : best);
}
